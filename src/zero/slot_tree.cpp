#include "th/zero/slot_tree.hpp"

#include "th/base/error.hpp"
#include "th/base/half_float.hpp"
#include "th/base/target_clones.hpp"
#include "th/model/kernels.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

namespace th::zero {

namespace {

constexpr std::int64_t kBlock = 1024;  // elements summed at a time: all levels stay in the first cache
constexpr int kLevels = 32;

TH_CLONES void sum(const float* a, const float* b, float* out, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) out[i] = a[i] + b[i];
}

/// One block's counter: level l holds the sum of 2^l consecutive slots.
struct Counter {
  std::array<const float*, kLevels> level{};
  alignas(64) std::array<std::array<float, kBlock>, kLevels + 1> scratch;
  std::array<int, kLevels> own{};
  int spare = kLevels;
  Counter() {
    for (int l = 0; l < kLevels; ++l) own[static_cast<std::size_t>(l)] = l;
  }
  void push(std::uint64_t slot, const float* leaf, std::int64_t n) {
    std::size_t l = 0;
    const float* carry = leaf;
    for (; ((slot >> l) & 1U) != 0U; ++l) {
      float* to = scratch[static_cast<std::size_t>(spare)].data();
      sum(level[l], carry, to, n);
      carry = to;
      level[l] = nullptr;
    }
    if (l > 0) std::swap(spare, own[l]);
    level[l] = carry;
  }
};

}  // namespace

std::int64_t SlotTree::pending_buffers(std::int64_t slots, std::int64_t ranks) {
  int most = 0;
  for (std::int64_t at = ranks; at < slots; at += ranks) most = std::max(most, std::popcount(static_cast<std::uint64_t>(at)));
  return most;
}

SlotTree::SlotTree(std::int64_t slots, std::int64_t ranks, std::int64_t shard) : slots_(slots), ranks_(ranks) {
  ensure(slots >= 1 && slots < (std::int64_t{1} << 31), "SlotTree: train.micro_batches is out of range");
  pending_.resize(static_cast<std::size_t>(pending_buffers(slots, ranks)));
  for (std::vector<float>& buffer : pending_) buffer.resize(static_cast<std::size_t>(shard));
  // Which buffer holds which level at the end of each round: levels keep their buffer while they stay occupied.
  std::vector<int> held(kLevels, -1);
  storage_of_.push_back(held);
  for (std::int64_t at = ranks; at < slots; at += ranks) {
    const std::vector<int> before = held;
    const auto now = static_cast<std::uint64_t>(at);
    const auto then = static_cast<std::uint64_t>(at - ranks);
    const std::uint64_t changed = now ^ then;
    const int top = 63 - std::countl_zero(changed);  // levels above the highest changed bit are untouched
    for (int l = 0; l <= top; ++l) held[static_cast<std::size_t>(l)] = -1;
    for (int l = 0; l <= top; ++l) {
      if (((now >> l) & 1U) == 0U) continue;
      for (int buffer = 0;; ++buffer) {
        if (std::find(held.begin(), held.end(), buffer) == held.end()) {
          held[static_cast<std::size_t>(l)] = buffer;
          break;
        }
      }
    }
    storage_of_.push_back(held);
  }
}

std::int64_t SlotTree::bytes() const noexcept {
  std::int64_t total = 0;
  for (const auto& p : pending_) total += static_cast<std::int64_t>(p.size() * sizeof(float));
  return total;
}

template <typename T>
bool SlotTree::add(std::int64_t first, std::span<const T* const> pieces, std::int64_t offset, std::int64_t count, T* out) {
  const auto round = static_cast<std::size_t>(first / ranks_);
  const std::int64_t end = first + std::ssize(pieces);
  const bool last = end == slots_;
  ensure(end <= slots_, "SlotTree: more slots than announced");
  if constexpr (std::is_same_v<T, float>) {
    if (first == 0 && last && pieces.size() == 2) {  // two slots in one round: the tree is one addition
      sum(pieces[0], pieces[1], out, count);
      return true;
    }
  }
  Counter counter;
  alignas(64) std::array<std::array<float, std::is_same_v<T, float> ? 1 : kBlock>, 2> wide;  // a slot that waits at level 0, and the next one
  for (std::int64_t at = 0; at < count; at += kBlock) {
    const std::int64_t n = std::min(kBlock, count - at);
    for (std::size_t l = 0; l < kLevels; ++l) {
      const int buffer = storage_of_[round][l];
      counter.level[l] = buffer < 0 ? nullptr : pending_[static_cast<std::size_t>(buffer)].data() + offset + at;
    }
    const auto before = counter.level;
    for (std::size_t j = 0; j < pieces.size(); ++j) {
      const std::uint64_t slot = static_cast<std::uint64_t>(first) + j;
      if constexpr (std::is_same_v<T, float>) {
        counter.push(slot, pieces[j] + at, n);
      } else {
        float* leaf = wide[j % 2].data();
        model::widen(pieces[j] + at, leaf, n);
        counter.push(slot, leaf, n);
      }
    }
    if (last) {
      const float* total = nullptr;
      float* spare = counter.scratch[static_cast<std::size_t>(counter.spare)].data();
      for (const float* partial : counter.level) {
        if (partial == nullptr) continue;
        if (total != nullptr) sum(partial, total, spare, n);
        total = total == nullptr ? partial : spare;
      }
      if constexpr (std::is_same_v<T, float>) {
        if (total != out + at) std::memcpy(out + at, total, static_cast<std::size_t>(n) * sizeof(float));
      } else {
        model::narrow(total, out + at, n);
      }
      continue;
    }
    // A buffer may change its level between rounds: read everything that moves before anything is overwritten.
    for (std::size_t l = kLevels; l-- > 0;) {
      if (counter.level[l] == nullptr || counter.level[l] == before[l]) continue;
      float* to = pending_[static_cast<std::size_t>(storage_of_[round + 1][l])].data() + offset + at;
      std::memcpy(to, counter.level[l], static_cast<std::size_t>(n) * sizeof(float));
    }
  }
  return last;
}

template bool SlotTree::add(std::int64_t, std::span<const float* const>, std::int64_t, std::int64_t, float*);
template bool SlotTree::add(std::int64_t, std::span<const Bf16* const>, std::int64_t, std::int64_t, Bf16*);
template bool SlotTree::add(std::int64_t, std::span<const Fp16* const>, std::int64_t, std::int64_t, Fp16*);

}  // namespace th::zero
