#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <vector>

#include "th/runtime/memory/memory_ledger.hpp"

namespace th::runtime {

/// Allocates as std::allocator does. Within a PlanningScope it counts blocks, which stand for real
/// vectors of the same sizes, in that scope's ledger. They are the blocks that operator new counts
/// outside of a scope.
template <typename T>
class PlannedAllocator {
 public:
  using value_type = T;
  using propagate_on_container_copy_assignment = std::true_type;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;

  /// If `counts` is false, vectors of a plan are not counted.
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

/// `bytes`, or 0 for a block that is too small to be counted.
[[nodiscard]] constexpr std::int64_t counted(std::int64_t bytes) noexcept {
  return bytes < static_cast<std::int64_t>(MemoryLedger::kSmallest) ? 0 : bytes;
}

template <typename T>
using PlannedVector = std::vector<T, PlannedAllocator<T>>;

}  // namespace th::runtime
