#pragma once

#include <memory>

#include "th/runtime/memory/memory_ledger.hpp"

namespace th::model {

/// Makes LibTorch take its CPU memory through the project's allocator from now on: 64-byte aligned,
/// every block entered into runtime::MemoryLedger in the class of the thread's MemoryScope; inside
/// a PlanningScope blocks are counted and have no memory. Call it once, early in main, before
/// threads that make tensors. Not collective.
void observe_torch_memory();

/// While it lives, blocks that LibTorch's device allocators (CUDA's caching one among them) hand
/// out to this thread and take back are entered into runtime::MemoryLedger::device(), in the class
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

/// While it lives, LibTorch's CPU blocks of class kActivations are entered into `ledger` in place
/// of MemoryLedger::process(): for a stand-in of a GPU, whose tensors are the CPU's. They may nest;
/// one thread makes and ends them.
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
