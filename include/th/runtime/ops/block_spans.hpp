#pragma once

#include <cstdint>

#include "th/base/host_device.hpp"

// Blocks of sentences, as operands of ops describe them.
namespace th::op {

using Count = std::int64_t;

/// Consecutive packed rows of one sentence: `count` rows from `row` on. The first is at `position`
/// in sentence number `sentence`, which has `length` rows.
struct RowSpan {
  Count row = 0, count = 0, position = 0, length = 0, sentence = 0;
};

/// Where rows of scores of blocks of sentences [B*H, T, S] lie in the scores of whole sentences
/// [sentences*H, all_queries, all_keys], by whose places attention in one kernel counts its draws.
struct BlockPlaces {
  const RowSpan *query_spans = nullptr, *key_spans = nullptr;  ///< of each block; null: no blocks
  Count heads = 0, queries = 0;                                ///< H, T
  Count all_queries = 0, all_keys = 0;

  /// The index of the first key of row m.
  [[nodiscard]] TH_HOST_DEVICE Count first(Count m) const {
    const Count block = m / (heads * queries), head = m / queries % heads;
    const Count query = query_spans[block].position + m % queries;
    return ((query_spans[block].sentence * heads + head) * all_queries + query) * all_keys +
           key_spans[block].position;
  }
};

}  // namespace th::op
