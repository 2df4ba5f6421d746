// LibTorch's device allocators report each block through c10::reportMemoryUsageToProfiler: the
// calls here are those that the CUDA caching allocator makes, without a GPU.
#include <gtest/gtest.h>

#include "th/model/memory/torch_memory.hpp"
#include "th/runtime/memory/memory_ledger.hpp"

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>

namespace th::model {
namespace {

using runtime::MemoryClass;
using runtime::MemoryLedger;
using runtime::MemoryScope;

void* address(std::uintptr_t value) { return reinterpret_cast<void*>(value); }

void report(std::uintptr_t block, std::int64_t bytes,
            c10::DeviceType type = c10::DeviceType::CUDA) {
  c10::reportMemoryUsageToProfiler(address(block), bytes, 0, 0, c10::Device(type, 0));
}

TEST(DeviceMemory, BlocksOfADeviceAreCountedInTheThreadsClassAndPeakIsKept) {
  const DeviceMemoryObserver observer;
  MemoryLedger& ledger = MemoryLedger::device();
  ledger.restart();
  {
    const MemoryScope scope(MemoryClass::kActivations);
    report(0x7f0000000000, 1000);
    report(0x7f0000001000, 500);
  }
  const MemoryScope scope(MemoryClass::kParameters);
  report(0x7f0000002000, 64);
  EXPECT_EQ(ledger.current()[MemoryClass::kActivations], 1500);
  EXPECT_EQ(ledger.current()[MemoryClass::kParameters], 64);
  report(0x7f0000000000, -1000);  // leaves the class it came in
  EXPECT_EQ(ledger.current()[MemoryClass::kActivations], 500);
  EXPECT_EQ(ledger.at_peak().total(), 1564);
  report(0x7f0000001000, -500);
  report(0x7f0000002000, -64);
  EXPECT_EQ(ledger.current().total(), 0);
}

TEST(DeviceMemory, HostBlocksAreNotCountedThere) {
  const DeviceMemoryObserver observer;
  MemoryLedger::device().restart();
  report(0x7f0000003000, 4096, c10::DeviceType::CPU);
  const at::Tensor host = at::zeros({1 << 16});
  EXPECT_EQ(MemoryLedger::device().current().total(), 0);
}

TEST(DeviceMemory, NothingIsSeenWithoutAnObserver) {
  MemoryLedger::device().restart();
  { const DeviceMemoryObserver observer; }
  EXPECT_FALSE(c10::memoryProfilingEnabled());
  EXPECT_EQ(MemoryLedger::device().current().total(), 0);
}

}  // namespace
}  // namespace th::model
