#pragma once

#include <memory>

#include "th/runtime/memory/memory_ledger.hpp"

namespace th::model {

/// Makes LibTorch take its CPU memory from the project's allocator from now on. Blocks are 64-byte
/// aligned and are counted in runtime::MemoryLedger in the class of the thread's MemoryScope;
/// inside a PlanningScope they are counted but have no memory. Call it once, early in main, before
/// threads that make tensors. Not collective.
void observe_torch_memory();

/// While this object lives, blocks that LibTorch's device allocators (such as CUDA's caching one)
/// give to this thread and take back are counted in runtime::MemoryLedger::device(), in the class
/// of the thread's MemoryScope.
class DeviceMemoryObserver {
 public:
  DeviceMemoryObserver();
  ~DeviceMemoryObserver();
  DeviceMemoryObserver(const DeviceMemoryObserver&) = delete;
  DeviceMemoryObserver& operator=(const DeviceMemoryObserver&) = delete;

 private:
  class Guard;
  std::unique_ptr<Guard> guard_;
};

/// While this object lives, LibTorch's CPU blocks of class kActivations are counted in `ledger` in
/// place of MemoryLedger::process(), for a stand-in of a GPU, whose tensors are the CPU's. Such
/// objects may nest; one thread makes and destroys them.
class ActivationLedger {
 public:
  explicit ActivationLedger(runtime::MemoryLedger& ledger);
  ~ActivationLedger();
  ActivationLedger(const ActivationLedger&) = delete;
  ActivationLedger& operator=(const ActivationLedger&) = delete;

 private:
  runtime::MemoryLedger* before_;
};

}  // namespace th::model
