#pragma once

#include <cstdint>
#include <limits>

#include "th/base/host_device.hpp"

namespace th::runtime {

/// Positions [begin, end) of one sentence.
struct PositionRange {
  std::int64_t begin = 0, end = 0;
};

/// Which keys a query sees, and what is added to a score before the softmax. Every body that
/// computes scores asks it: softmax over stored scores, the attention of one kernel on the host and
/// on a GPU, and decoding; so do lists of blocks and what decoding keeps. A new kind of attention
/// is a new kind here; other code knows of it only its answers to the questions below.
///
/// Ranges move forward only: keys(t + 1) begins and ends no earlier than keys(t), so a tile of
/// queries sees the keys from the first query's begin to the last query's end, and no later query
/// needs keys before oldest_key(t). Everything but the bias is integer arithmetic, so ranges are
/// the same on every device.
struct ScoreRule {
  enum class Kind : std::int32_t {
    kFull,       ///< a query sees every key of its sentence
    kCausal,     ///< query t sees the keys up to t (Vaswani et al. 2017, 3.2.3)
    kLocal,      ///< query t sees the keys from t - before to t + after
    kLocalCross  ///< key s is the source position s * step; query t sees the positions from
                 ///< centre(t) - before to centre(t) + after
  };
  Kind kind = Kind::kFull;
  std::int64_t before = 0, after = 0;  ///< widths of the local kinds, in positions
  std::int64_t step = 1;               ///< kLocalCross: model.cross_downsample
  /// kLocalCross: source positions a target position, as multiples of 2^-20; at least 1 of them.
  std::int64_t ratio = kRatioUnit;
  /// [heads], in the kernels' memory: -slopes[h] * |query - key| is added to a score (ALiBi, Press
  /// et al. 2022); null: nothing is added.
  const float* slopes = nullptr;

  static constexpr std::int64_t kRatioBits = 20, kRatioUnit = std::int64_t{1} << kRatioBits;
  /// The bias of a key that a query leaves out.
  static constexpr float kUnseen = -std::numeric_limits<float>::infinity();
  /// The number of keys of a sentence that does not end.
  static constexpr std::int64_t kNoEnd = std::numeric_limits<std::int32_t>::max();

  /// The source position round(query * ratio), halves upwards.
  [[nodiscard]] TH_HOST_DEVICE constexpr std::int64_t centre(std::int64_t query) const {
    return (query * ratio + kRatioUnit / 2) / kRatioUnit;
  }
  /// The keys that query `query` sees, of `count` keys of its sentence.
  [[nodiscard]] TH_HOST_DEVICE constexpr PositionRange keys(std::int64_t query,
                                                            std::int64_t count) const {
    switch (kind) {
      case Kind::kCausal:
        return within({0, query + 1}, count);
      case Kind::kLocal:
        return within({query - before, query + after + 1}, count);
      case Kind::kLocalCross:
        return within({up(centre(query) - before, step), (centre(query) + after) / step + 1},
                      count);
      case Kind::kFull:
        break;
    }
    return {0, count};
  }
  /// The first key that query `query` or one after it sees, of a sentence that does not end.
  [[nodiscard]] TH_HOST_DEVICE constexpr std::int64_t oldest_key(std::int64_t query) const {
    return keys(query, kNoEnd).begin;
  }
  /// The queries that see key `key`, of `count` queries of its sentence; if ranges have gaps, the
  /// queries whose ranges hold the key.
  [[nodiscard]] TH_HOST_DEVICE constexpr PositionRange queries(std::int64_t key,
                                                               std::int64_t count) const {
    switch (kind) {
      case Kind::kCausal:
        return within({key, count}, count);
      case Kind::kLocal:
        return within({key - after, key + before + 1}, count);
      case Kind::kLocalCross:
        return within({first_centred(key * step - after), first_centred(key * step + before + 1)},
                      count);
      case Kind::kFull:
        break;
    }
    return {0, count};
  }
  /// Whether queries see only a bounded number of keys, whatever the sentence's length.
  [[nodiscard]] TH_HOST_DEVICE constexpr bool local() const {
    return kind == Kind::kLocal || kind == Kind::kLocalCross;
  }
  /// For a local kind, how many positions before its own a query's range has; products take half as
  /// many queries at a time.
  [[nodiscard]] TH_HOST_DEVICE constexpr std::int64_t reach() const { return before; }
  /// Whether queries leave out keys of their ranges, which sees() tells apart. No present kind
  /// does. Bodies ask all the same, so that such a kind is written here alone.
  [[nodiscard]] TH_HOST_DEVICE constexpr bool gaps() const { return false; }
  /// Whether a query sees a key of its range. A key that it does not see has a bias of -infinity
  /// and the probability 0.
  [[nodiscard]] TH_HOST_DEVICE constexpr bool sees(std::int64_t /*query*/,
                                                   std::int64_t /*key*/) const {
    return true;
  }
  /// Whether bias() is not zero everywhere.
  [[nodiscard]] TH_HOST_DEVICE constexpr bool biased() const { return slopes != nullptr || gaps(); }
  /// What is added, in natural scale, to the score of a query and a key of its range in head
  /// `head`.
  [[nodiscard]] TH_HOST_DEVICE constexpr float bias(std::int64_t head, std::int64_t query,
                                                    std::int64_t key) const {
    if (!sees(query, key)) return kUnseen;
    if (slopes == nullptr) return 0.0F;
    return -slopes[head] * static_cast<float>(query < key ? key - query : query - key);
  }

 private:
  TH_HOST_DEVICE static constexpr PositionRange within(PositionRange range, std::int64_t count) {
    const std::int64_t begin = range.begin < 0 ? 0 : range.begin;
    return {begin < count ? begin : count, range.end < count ? range.end : count};
  }
  /// a / b rounded up, where that is not negative; 0 below.
  TH_HOST_DEVICE static constexpr std::int64_t up(std::int64_t a, std::int64_t b) {
    return a <= 0 ? 0 : (a + b - 1) / b;
  }
  /// The first query whose centre is at least `position`.
  [[nodiscard]] TH_HOST_DEVICE constexpr std::int64_t first_centred(std::int64_t position) const {
    return up(position * kRatioUnit - kRatioUnit / 2, ratio);
  }
};

}  // namespace th::runtime
