#include "th/zero/slot_tree.hpp"

#include "th/base/error.hpp"
#include "th/base/half_float.hpp"
#include "th/base/slot_dealing.hpp"
#include "th/model/ops/host_ops.hpp"
#include "th/zero/flat_kernels.hpp"
#include "th/zero/flat_layout.hpp"
#include "th/zero/optimizer.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

namespace th::zero {

namespace {

constexpr std::int64_t kBlock =
    1024;  // elements summed at a time: all levels stay in the first cache
constexpr std::int64_t kPair = 4096;  // of two slots alone
constexpr int kLevels = runtime::kTreeLevels;

/// out = a + b, element by element.
SumFn* const sum_of_two = sum_kernel();

/// One block's counter: level l holds the sum of 2^l consecutive slots.
struct Counter {
  std::array<const float*, kLevels> level{};
  alignas(64) std::array<std::array<float, kBlock>, kLevels + 1> scratch;
  std::array<int, kLevels> own{};
  int spare = kLevels;
  Counter() {
    for (int l = 0; l < kLevels; ++l) own[static_cast<std::size_t>(l)] = l;
  }
  /// The sum of the 2^leaf_level slots from `slot` on.
  void push(std::uint64_t slot, const float* leaf, std::int64_t n, std::size_t leaf_level = 0) {
    std::size_t l = leaf_level;
    const float* carry = leaf;
    for (; ((slot >> l) & 1U) != 0U; ++l) {
      float* to = scratch[static_cast<std::size_t>(spare)].data();
      sum_of_two(level[l], carry, to, n);
      carry = to;
      level[l] = nullptr;
    }
    if (l > leaf_level) std::swap(spare, own[l]);
    level[l] = carry;
  }
};

/// A slot's elements as fp32: where they lie, or widened into one of two places (a slot that waits
/// at level 0, and the next one).
template <typename T>
class Widened {
 public:
  const float* operator()(const T* from, std::int64_t n) {
    if constexpr (std::is_same_v<T, float>) {
      return from;
    } else {
      turn_ = 1 - turn_;
      model::compute(op::Widen<T>{.x = from, .y = places_[turn_].data(), .count = n});
      return places_[turn_].data();
    }
  }

 private:
  alignas(64) std::array<std::array<float, std::is_same_v<T, float> ? 1 : kBlock>, 2> places_;
  std::size_t turn_ = 0;
};

/// What is left at the end, added from the lowest level up.
template <typename T>
void write_total(Counter& counter, T* out, std::int64_t n) {
  const float* total = nullptr;
  float* spare = counter.scratch[static_cast<std::size_t>(counter.spare)].data();
  for (const float* partial : counter.level) {
    if (partial == nullptr) continue;
    if (total != nullptr) sum_of_two(partial, total, spare, n);
    total = total == nullptr ? partial : spare;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (total != out) std::memcpy(out, total, static_cast<std::size_t>(n) * sizeof(float));
  } else {
    model::compute(op::Narrow<T>{.x = total, .y = out, .count = n});
  }
}

}  // namespace

std::int64_t SlotTree::pending_buffers(std::span<const std::int64_t> ends) {
  int most = 0;
  for (const std::int64_t end : ends.first(ends.size() - 1))
    most = std::max(most, std::popcount(static_cast<std::uint64_t>(end)));
  return most;
}

std::vector<std::int64_t> SlotTree::one_by_one(std::int64_t slots) {
  return SlotDealing{slots, 1}.ends();
}

SlotTree::SlotTree(std::span<const std::int64_t> ends, std::int64_t shard)
    : SlotTree(ends, shard, nullptr) {
  own_.resize(pending_.size() * static_cast<std::size_t>(shard));
  for (std::size_t i = 0; i < pending_.size(); ++i)
    pending_[i] = own_.data() + i * static_cast<std::size_t>(shard);
}

SlotTree::SlotTree(std::span<const std::int64_t> ends, std::int64_t shard, float* pending_sums)
    : ends_(ends.begin(), ends.end()) {
  ensure(!ends.empty() && ends.back() >= 1 && ends.back() < (std::int64_t{1} << 31),
         "SlotTree: train.micro_batches is out of range");
  for (std::int64_t i = 0; i < pending_buffers(ends); ++i)
    pending_.push_back(pending_sums == nullptr ? nullptr : pending_sums + i * shard);
  // Which buffer holds which level at the end of each call: levels keep their buffer while they
  // stay occupied.
  std::vector<int> held(kLevels, -1);
  storage_of_.push_back(held);
  std::uint64_t then = 0;
  for (const std::int64_t at : ends.first(ends.size() - 1)) {
    const auto now = static_cast<std::uint64_t>(at);
    const std::uint64_t changed = now ^ then;
    const int top =
        63 - std::countl_zero(changed);  // levels above the highest changed bit are untouched
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
    then = now;
  }
}

template <typename T>
void SlotTree::subtree_sum(std::span<const T* const> pieces, std::int64_t count, float* out) {
  ensure(std::has_single_bit(pieces.size()), "SlotTree: a subtree has a power of two of slots");
  if constexpr (std::is_same_v<T, float>) {
    if (pieces.size() == 2) return sum_of_two(pieces[0], pieces[1], out, count);
  }
  Counter counter;
  Widened<T> widened;
  for (std::int64_t at = 0; at < count; at += kBlock) {
    const std::int64_t n = std::min(kBlock, count - at);
    counter.level.fill(nullptr);
    for (std::size_t j = 0; j < pieces.size(); ++j) counter.push(j, widened(pieces[j] + at, n), n);
    const float* total = counter.level[static_cast<std::size_t>(std::countr_zero(pieces.size()))];
    std::memcpy(out + at, total, static_cast<std::size_t>(n) * sizeof(float));
  }
}

template <typename T>
bool SlotTree::add(std::int64_t first, std::span<const T* const> pieces, std::int64_t offset,
                   std::int64_t count, T* out) {
  std::vector<Leaf> leaves;
  for (const T* piece : pieces) leaves.push_back({piece, 1});
  return add<T>(first, leaves, offset, count, out);
}

runtime::TreeSum SlotTree::plan(std::int64_t first, std::span<const Leaf> leaves,
                                std::int64_t offset, std::int64_t count, ElementType type,
                                void* out) const {
  const auto call =
      static_cast<std::size_t>(std::upper_bound(ends_.begin(), ends_.end(), first) - ends_.begin());
  std::int64_t end = first;
  for (const Leaf& leaf : leaves) {
    ensure(std::has_single_bit(static_cast<std::uint64_t>(leaf.slots)) && end % leaf.slots == 0,
           "SlotTree: a sum that is no whole subtree of slots");
    end += leaf.slots;
  }
  ensure(call < ends_.size() && end == ends_[call], "SlotTree: other slots than announced");
  const bool last = end == ends_.back();
  runtime::TreeSum sum{first, count, type, leaves, {}, {}, last ? out : nullptr};
  const auto buffer = [&](std::size_t at, std::size_t level) {
    const int held = storage_of_[at][level];
    return held < 0 ? nullptr : pending_[static_cast<std::size_t>(held)] + offset;
  };
  for (std::size_t l = 0; l < kLevels; ++l) {
    sum.pending_before[l] = buffer(call, l);
    if (!last) sum.pending_after[l] = buffer(call + 1, l);
  }
  return sum;
}

template <typename T>
bool SlotTree::add(std::int64_t first, std::span<const Leaf> leaves, std::int64_t offset,
                   std::int64_t count, T* out) {
  const ElementType type = std::is_same_v<T, float>  ? ElementType::kFp32
                           : std::is_same_v<T, Bf16> ? ElementType::kBf16
                                                     : ElementType::kFp16;
  const runtime::TreeSum sum = plan(first, leaves, offset, count, type, out);
  tree_sum(sum);
  return sum.out != nullptr;
}

namespace {

/// Norms of the elements [at, at + n) of the total.
void square_sums(const runtime::TreeSum& s, std::int64_t at, std::int64_t n) {
  if (s.square_sums == nullptr) return;
  const std::int64_t bytes = element_size(s.type);
  block_square_sums(static_cast<const std::byte*>(s.out) + at * bytes, s.type,
                    n / FlatLayout::kBlock, s.square_sums + at / FlatLayout::kBlock);
}

template <typename T>
void tree_sum_of(const runtime::TreeSum& s) {
  auto* out = static_cast<T*>(s.out);
  if (std::is_same_v<T, float> && s.first_slot == 0 && out != nullptr &&
      s.leaves.size() == 2) {  // two leaves in one round: the tree is one addition
    const auto *a = static_cast<const float*>(s.leaves[0].data),
               *b = static_cast<const float*>(s.leaves[1].data);
    for (std::int64_t at = 0; at < s.count; at += kPair) {
      const std::int64_t n = std::min(kPair, s.count - at);
      sum_of_two(a + at, b + at, static_cast<float*>(s.out) + at, n);
      square_sums(s, at, n);
    }
    return;
  }
  Counter counter;
  Widened<T> widened;
  for (std::int64_t at = 0; at < s.count; at += kBlock) {
    const std::int64_t n = std::min(kBlock, s.count - at);
    for (std::size_t l = 0; l < kLevels; ++l)
      counter.level[l] = s.pending_before[l] == nullptr ? nullptr : s.pending_before[l] + at;
    const auto before = counter.level;
    auto slot = static_cast<std::uint64_t>(s.first_slot);
    for (const runtime::TreeLeaf& leaf : s.leaves) {
      const float* values = leaf.slots > 1 ? static_cast<const float*>(leaf.data) + at
                                           : widened(static_cast<const T*>(leaf.data) + at, n);
      counter.push(
          slot, values, n,
          static_cast<std::size_t>(std::countr_zero(static_cast<std::uint64_t>(leaf.slots))));
      slot += static_cast<std::uint64_t>(leaf.slots);
    }
    if (out != nullptr) {
      write_total(counter, out + at, n);
      square_sums(s, at, n);
      continue;
    }
    // A buffer may change its level between rounds: read everything that moves before anything is
    // overwritten.
    for (std::size_t l = kLevels; l-- > 0;) {
      if (counter.level[l] == nullptr || counter.level[l] == before[l]) continue;
      std::memcpy(s.pending_after[l] + at, counter.level[l],
                  static_cast<std::size_t>(n) * sizeof(float));
    }
  }
}

}  // namespace

void tree_sum(const runtime::TreeSum& sum) {
  if (sum.type == ElementType::kBf16) return tree_sum_of<Bf16>(sum);
  if (sum.type == ElementType::kFp16) return tree_sum_of<Fp16>(sum);
  tree_sum_of<float>(sum);
}

template bool SlotTree::add(std::int64_t, std::span<const float* const>, std::int64_t, std::int64_t,
                            float*);
template bool SlotTree::add(std::int64_t, std::span<const Bf16* const>, std::int64_t, std::int64_t,
                            Bf16*);
template bool SlotTree::add(std::int64_t, std::span<const Fp16* const>, std::int64_t, std::int64_t,
                            Fp16*);
template bool SlotTree::add(std::int64_t, std::span<const Leaf>, std::int64_t, std::int64_t,
                            float*);
template bool SlotTree::add(std::int64_t, std::span<const Leaf>, std::int64_t, std::int64_t, Bf16*);
template bool SlotTree::add(std::int64_t, std::span<const Leaf>, std::int64_t, std::int64_t, Fp16*);
template void SlotTree::subtree_sum(std::span<const float* const>, std::int64_t, float*);
template void SlotTree::subtree_sum(std::span<const Bf16* const>, std::int64_t, float*);
template void SlotTree::subtree_sum(std::span<const Fp16* const>, std::int64_t, float*);

}  // namespace th::zero
