#pragma once

#include <cstdint>

#include "th/base/host_device.hpp"

namespace th::runtime {

/// Positions [begin, end) of one sentence.
struct PositionRange {
  std::int64_t begin = 0, end = 0;
};

/// Which keys a query sees, and what is added to a score before the softmax. Every body that
/// computes scores asks it: softmax over stored scores, the attention of one kernel on the host and
/// on a GPU, and decoding. A new kind of attention is a new kind here.
///
/// Ranges move forward only: keys(t + 1) begins and ends no earlier than keys(t), so that tiles of
/// queries see the keys from the first query's begin to the last query's end.
struct ScoreRule {
  enum class Kind : std::int32_t {
    kFull,   ///< a query sees every key of its sentence
    kCausal  ///< query t sees the keys up to t (Vaswani et al. 2017, 3.2.3)
  };
  Kind kind = Kind::kFull;

  /// The keys that query `query` sees, of `count` keys of its sentence.
  [[nodiscard]] TH_HOST_DEVICE constexpr PositionRange keys(std::int64_t query,
                                                            std::int64_t count) const {
    if (kind == Kind::kCausal) return {0, query + 1 < count ? query + 1 : count};
    return {0, count};
  }
  /// The queries that see key `key`, of `count` queries of its sentence.
  [[nodiscard]] TH_HOST_DEVICE constexpr PositionRange queries(std::int64_t key,
                                                               std::int64_t count) const {
    if (kind == Kind::kCausal) return {key < count ? key : count, count};
    return {0, count};
  }
  /// Whether bias() is not zero everywhere.
  [[nodiscard]] TH_HOST_DEVICE constexpr bool biased() const { return false; }
  /// What is added to the score of a query and a key of head `head`, of natural scale.
  [[nodiscard]] TH_HOST_DEVICE constexpr float bias(std::int64_t /*head*/, std::int64_t /*query*/,
                                                    std::int64_t /*key*/) const {
    return 0.0F;
  }
};

}  // namespace th::runtime
