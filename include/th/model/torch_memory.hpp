#pragma once

namespace th::model {

/// Makes LibTorch take its CPU memory through the project's allocator from now on: 64-byte aligned, every block entered into
/// runtime::MemoryLedger in the class of the thread's MemoryScope; inside a PlanningScope blocks are counted and have no memory.
/// Call it once, early in main, before threads that make tensors. Not collective.
void observe_torch_memory();

}  // namespace th::model
