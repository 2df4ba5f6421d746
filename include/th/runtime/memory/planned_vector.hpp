#pragma once

#include <cstddef>
#include <new>
#include <type_traits>
#include <vector>

#include "th/runtime/memory/memory_ledger.hpp"

namespace th::runtime {

/// Allocates as std::allocator does. Blocks of a plan, which real vectors of the same sizes will
/// take, are counted in the ledger of the thread's PlanningScope: those that operator new counts
/// outside of one.
template <typename T>
class PlannedAllocator {
 public:
  using value_type = T;
  using propagate_on_container_copy_assignment = std::true_type;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;

  /// Where `counts` is false, vectors of a plan are counted nowhere.
  explicit PlannedAllocator(bool counts = false) noexcept : counts_(counts) {}
  template <typename U>
  PlannedAllocator(const PlannedAllocator<U>& other) noexcept : counts_(other.counts()) {}

  [[nodiscard]] T* allocate(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    void* block = ::operator new(bytes);
    if (counts_ && bytes >= MemoryLedger::kSmallest && PlanningScope::active() != nullptr)
      note_allocation(block, bytes);
    return static_cast<T*>(block);
  }
  void deallocate(T* block, std::size_t count) noexcept {
    if (counts_ && count * sizeof(T) >= MemoryLedger::kSmallest) note_release(block);
    ::operator delete(block);
  }
  [[nodiscard]] bool counts() const noexcept { return counts_; }
  friend bool operator==(const PlannedAllocator&, const PlannedAllocator&) noexcept = default;

 private:
  bool counts_;
};

template <typename T>
using PlannedVector = std::vector<T, PlannedAllocator<T>>;

}  // namespace th::runtime
