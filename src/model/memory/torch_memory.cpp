#include "th/model/memory/torch_memory.hpp"

#include "model/memory/block_arena.hpp"
#include "th/runtime/memory/memory_ledger.hpp"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

namespace th::model {

namespace {

constexpr std::size_t kAlignment = BlockArena::kAlignment;
constexpr std::size_t kReserve = std::size_t{1} << 40;  // addresses, not memory
// Planned blocks get addresses that no process has: no page of the upper half of a canonical
// address space is ever mapped for users.
constexpr std::uintptr_t kPlanned = std::uintptr_t{1} << 60;
thread_local std::uintptr_t next_planned = kPlanned;

std::atomic<runtime::MemoryLedger*> activation_ledger = nullptr;  // null: the process's

bool is_planned(const void* block) { return reinterpret_cast<std::uintptr_t>(block) >= kPlanned; }

/// Activations of this process; never destroyed, tensors may outlive main.
BlockArena& activations() {
  static auto* arena = new BlockArena(kReserve);
  return *arena;
}

void* take(std::size_t rounded) {
#if !defined(__SANITIZE_ADDRESS__)  // the sanitizer watches the heap's blocks, not ours
  if (runtime::MemoryScope::current() == runtime::MemoryClass::kActivations) {
    if (void* block = activations().take(rounded)) return block;
  }
#endif
  void* block = std::aligned_alloc(kAlignment, rounded);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void release(void* block) {
  if (block == nullptr) return;
  runtime::note_release(block);
  if (!is_planned(block) && !activations().give(block)) std::free(block);
}

class ObservedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* block = nullptr;
    if (bytes != 0) {
      const std::size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
      if (runtime::PlanningScope::active() != nullptr) {
        block = reinterpret_cast<void*>(next_planned);
        next_planned += rounded;
      } else {
        block = take(rounded);
      }
      runtime::MemoryLedger* ledger = activation_ledger;
      const bool apart = ledger != nullptr &&
                         runtime::MemoryScope::current() == runtime::MemoryClass::kActivations;
      if (apart && runtime::PlanningScope::active() == nullptr) {
        runtime::note_allocation(block, bytes, *ledger);
      } else {
        runtime::note_allocation(block, bytes);
      }
    }
    return {block, block, &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};

}  // namespace

void observe_torch_memory() {
  static ObservedAllocator allocator;
  c10::SetCPUAllocator(&allocator, 1);
}

namespace {

/// LibTorch's own seam for memory profilers: every allocator but ours reports to it, frees with a
/// negative size.
class Reporter final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* block, std::int64_t bytes, std::size_t, std::size_t,
                         c10::Device device) override {
    if (device.is_cpu()) return;
    if (bytes > 0)
      runtime::note_allocation(block, static_cast<std::size_t>(bytes),
                               runtime::MemoryLedger::device());
    if (bytes < 0) runtime::note_release(block);
  }
  [[nodiscard]] bool memoryProfilingEnabled() const override { return true; }
};

}  // namespace

class DeviceMemoryObserver::Guard {
  c10::DebugInfoGuard guard_{c10::DebugInfoKind::PROFILER_STATE, std::make_shared<Reporter>()};
};

DeviceMemoryObserver::DeviceMemoryObserver() : guard_(std::make_unique<Guard>()) {}
DeviceMemoryObserver::~DeviceMemoryObserver() = default;

ActivationLedger::ActivationLedger(runtime::MemoryLedger& ledger)
    : before_(activation_ledger.exchange(&ledger)) {}
ActivationLedger::~ActivationLedger() { activation_ledger = before_; }

}  // namespace th::model
