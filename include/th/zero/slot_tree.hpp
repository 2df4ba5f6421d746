#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "th/runtime/device/device.hpp"

namespace th::zero {

/// Sums the slots' contributions to one flat shard in a binary tree that depends on the slot
/// numbers alone: a binary counter of pending partial sums, fed in slot order. If all slots come in
/// one call nothing is pending.
class SlotTree {
 public:
  /// The slots come in one call for each of `ends`, which holds the number of the first slot after
  /// that call, up to the count of all slots. `shard` elements can be pending.
  SlotTree(std::span<const std::int64_t> ends, std::int64_t shard);
  /// The same with memory of another owner for pending sums: `pending_sums`, pending_buffers() *
  /// shard elements.
  SlotTree(std::span<const std::int64_t> ends, std::int64_t shard, float* pending_sums);
  SlotTree(SlotTree&&) = default;  // the buffers stay where they are
  SlotTree& operator=(SlotTree&&) = default;

  /// Feeds slots [first, first + pieces.size()), each `count` elements (T: float, Bf16, Fp16) that
  /// belong at `offset` of the shard. Sums are fp32. When they are the last ones the sum is written
  /// to `out` (which may be one of the pieces), rounded to T; returns whether it was.
  template <typename T>
  bool add(std::int64_t first, std::span<const T* const> pieces, std::int64_t offset,
           std::int64_t count, T* out);

  /// A contribution to add(): that of one slot (elements of T), or the sum of a whole subtree, made
  /// by subtree_sum().
  using Leaf = runtime::TreeLeaf;
  template <typename T>
  bool add(std::int64_t first, std::span<const Leaf> leaves, std::int64_t offset,
           std::int64_t count, T* out);
  /// The work of add(), for a device; `leaves` must outlive the result. It has `out` if the slots
  /// are the last ones.
  [[nodiscard]] runtime::TreeSum plan(std::int64_t first, std::span<const Leaf> leaves,
                                      std::int64_t offset, std::int64_t count, ElementType type,
                                      void* out) const;

  /// Writes the fp32 sum of contributions to `out`, halves first; their count is a power of two.
  template <typename T>
  static void subtree_sum(std::span<const T* const> pieces, std::int64_t count, float* out);

  /// Buffers of shard size that are pending between calls: the most bits set in any of the `ends`
  /// but the last.
  [[nodiscard]] static std::int64_t pending_buffers(std::span<const std::int64_t> ends);
  /// The ends where each of `slots` slots has a call of its own.
  [[nodiscard]] static std::vector<std::int64_t> one_by_one(std::int64_t slots);
  /// Bytes of the buffers that it owns.
  [[nodiscard]] std::int64_t bytes() const noexcept {
    return static_cast<std::int64_t>(own_.size() * sizeof(float));
  }

 private:
  std::vector<std::int64_t> ends_;
  std::vector<float> own_;                    ///< the buffers, unless they were given
  std::vector<float*> pending_;               ///< pending_buffers of them
  std::vector<std::vector<int>> storage_of_;  ///< call -> level -> index into pending_, -1: none
};

/// The sum on host memory.
void tree_sum(const runtime::TreeSum& sum);

}  // namespace th::zero
