#pragma once

#include <memory>

namespace th::model {

/// Makes LibTorch take its CPU memory through the project's allocator from now on: 64-byte aligned, every block entered into
/// runtime::MemoryLedger in the class of the thread's MemoryScope; inside a PlanningScope blocks are counted and have no memory.
/// Call it once, early in main, before threads that make tensors. Not collective.
void observe_torch_memory();

/// While it lives, blocks that LibTorch's device allocators (CUDA's caching one among them) hand out to this thread and take back are entered into
/// runtime::MemoryLedger::device(), in the class of the thread's MemoryScope.
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

}  // namespace th::model
