#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace th::model {

/// Blocks for activations: best fit with coalescing in one reserved stretch of addresses. A
/// micro-batch's activations come and go together, so the stretch in use stays as long as the
/// largest of them, and its pages stay touched: no page faults from step to step, and none of the
/// holes that a heap shared with long-lived blocks gets when shapes vary. Thread-safe.
class BlockArena {
 public:
  /// Reserves addresses only. Where they can't be had every take() fails.
  explicit BlockArena(std::size_t reserve_bytes);
  ~BlockArena();
  BlockArena(const BlockArena&) = delete;
  BlockArena& operator=(const BlockArena&) = delete;

  /// `bytes` rounded up to kAlignment, at a multiple of it; null when there is no room.
  [[nodiscard]] void* take(std::size_t bytes);
  /// Gives back what take() gave; false when `block` is not of this arena.
  bool give(void* block);
  /// The largest address in use so far, as bytes from the start.
  [[nodiscard]] std::size_t high_water() const;

  static constexpr std::size_t kAlignment = 64;

 private:
  using Size = std::size_t;
  void add_free(Size offset, Size bytes);
  void remove_free(Size offset, Size bytes);

  mutable std::mutex mutex_;
  char* base_ = nullptr;
  Size reserved_ = 0, high_water_ = 0;
  std::map<Size, Size> free_;                ///< offset -> bytes
  std::set<std::pair<Size, Size>> by_size_;  ///< (bytes, offset)
  std::map<Size, Size> taken_;               ///< offset -> bytes
};

}  // namespace th::model
