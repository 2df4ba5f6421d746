#include "model/memory/block_arena.hpp"

#include <sys/mman.h>

#include <algorithm>

namespace th::model {

BlockArena::BlockArena(std::size_t reserve_bytes) {
  void* base = mmap(nullptr, reserve_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return;
  madvise(base, reserve_bytes, MADV_HUGEPAGE);
  base_ = static_cast<char*>(base);
  reserved_ = reserve_bytes;
  add_free(0, reserve_bytes);
}

BlockArena::~BlockArena() {
  if (base_ != nullptr) munmap(base_, reserved_);
}

void BlockArena::add_free(Size offset, Size bytes) {
  free_.emplace(offset, bytes);
  by_size_.emplace(bytes, offset);
}

void BlockArena::remove_free(Size offset, Size bytes) {
  free_.erase(offset);
  by_size_.erase({bytes, offset});
}

void* BlockArena::take(std::size_t bytes) {
  const Size wanted = (std::max<Size>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  const std::lock_guard lock(mutex_);
  const auto found = by_size_.lower_bound({wanted, 0});
  if (found == by_size_.end()) return nullptr;
  const auto [size, offset] = *found;
  remove_free(offset, size);
  if (size > wanted) add_free(offset + wanted, size - wanted);
  taken_.emplace(offset, wanted);
  high_water_ = std::max(high_water_, offset + wanted);
  return base_ + offset;
}

bool BlockArena::give(void* block) {
  auto* at = static_cast<char*>(block);
  if (base_ == nullptr || at < base_ || at >= base_ + reserved_) return false;
  const std::lock_guard lock(mutex_);
  const auto taken = taken_.find(static_cast<Size>(at - base_));
  if (taken == taken_.end()) return false;
  Size offset = taken->first, bytes = taken->second;
  taken_.erase(taken);
  const auto after = free_.lower_bound(offset);
  if (after != free_.end() && after->first == offset + bytes) {
    const Size grown = after->second;
    remove_free(offset + bytes, grown);
    bytes += grown;
  }
  const auto next = free_.lower_bound(offset);
  if (next != free_.begin()) {
    const auto [before, size] = *std::prev(next);
    if (before + size == offset) {
      remove_free(before, size);
      offset = before;
      bytes += size;
    }
  }
  add_free(offset, bytes);
  return true;
}

std::size_t BlockArena::high_water() const {
  const std::lock_guard lock(mutex_);
  return high_water_;
}

}  // namespace th::model
