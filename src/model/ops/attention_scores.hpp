#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "model/ops/host_elements.hpp"
#include "model/ops/row_math.hpp"
#include "model/ops/vectors.hpp"
#include "th/runtime/ops/attention.hpp"

// What both arrangements of the host's attention are made of: a row's softmax with its draws and
// its gradient, transposes, a thread's memory.
namespace th::model::TH_ISA {

/// Rows of scores, `stride` apart, of the queries from `first` on and the keys [first_key,
/// first_key + columns) of `keys`; and where their draws begin: that of row t and key 0 at place +
/// t
/// * pitch.
struct ScoreRows {
  std::int64_t rows, stride, columns, keys, first, first_key, head;
  runtime::ScoreRule rule;
  std::int64_t place, pitch;
  /// The columns that the query of a row sees.
  [[nodiscard]] runtime::PositionRange seen(std::int64_t row) const {
    const runtime::PositionRange keys_seen = rule.keys(first + row, keys);
    return {keys_seen.begin - first_key, keys_seen.end - first_key};
  }
};

/// Zeros in the places of a row that its query does not see.
[[gnu::always_inline]] static inline void clear_unseen(float* row, runtime::PositionRange seen,
                                                       std::int64_t columns) {
  for (std::int64_t i = 0; i < seen.begin; ++i) row[i] = 0.0F;
  for (std::int64_t i = seen.end; i < columns; ++i) row[i] = 0.0F;
}

/// Exponentials that are taken together.
inline constexpr int kExponentials = 64;

/// In place: the exponentials of a softmax of scale * n scores. Returns 1 / their sum, 0 of none.
/// The order of sums is that of softmax_row(); a positive scale rounds the largest score to the
/// largest.
[[gnu::always_inline]] static inline float exponentials(float* s, std::int64_t n, float scale) {
  if (n <= 0) return 0.0F;
  const std::int64_t whole = n / kLanes * kLanes, rest = n - whole;
  float last[kLanes], lanes[kLanes] = {};
  float top = row_maximum(s, whole);
  if (rest > 0) {
    for (int l = 0; l < kLanes; ++l)
      last[l] = l < rest ? s[whole + l] : -std::numeric_limits<float>::infinity();
    top = larger(top, row_maximum(last, kLanes));
  }
  top *= scale;
  std::int64_t i = 0;
  for (; i + kExponentials <= whole; i += kExponentials) {
    float rest_of[kExponentials];
    std::uint32_t power_of[kExponentials];
    for (int l = 0; l < kExponentials; ++l) {
      const ExpParts parts = exp_parts(s[i + l] * scale - top);
      rest_of[l] = parts.rest;
      power_of[l] = parts.power;
    }
    for (int l = 0; l < kExponentials; ++l) s[i + l] = exp_of({rest_of[l], power_of[l]});
    for (int block = 0; block < kExponentials; block += kLanes) {
      for (int l = 0; l < kLanes; ++l) lanes[l] += s[i + block + l];
    }
  }
  for (; i < whole; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float e = exp_fixed(s[i + l] * scale - top);
      s[i + l] = e;
      lanes[l] += e;
    }
  }
  if (rest > 0) {
    for (int l = 0; l < kLanes; ++l) {
      const float e = exp_fixed(last[l] * scale - top);
      last[l] = l < rest ? e : 0.0F;
      lanes[l] += last[l];
    }
    for (int l = 0; l < rest; ++l) s[whole + l] = last[l];
  }
  return 1.0F / sum_lanes(lanes);
}

/// In place: exponentials of what a row's query sees of scale * scores + bias, zeros elsewhere.
/// Returns 1 / their sum.
template <typename Scores>
[[gnu::always_inline]] static inline float row_exponentials(const Scores& s, std::int64_t t,
                                                            float* row, float scale) {
  const runtime::PositionRange seen = s.seen(t);
  float factor = scale;
  if (s.rule.biased()) {
    factor = 1.0F;
    for (std::int64_t i = seen.begin; i < seen.end; ++i)
      row[i] = row[i] * scale + s.rule.bias(s.head, s.first + t, s.first_key + i);
  }
  const float inverse = exponentials(row + seen.begin, seen.end - seen.begin, factor);
  clear_unseen(row, seen, s.columns);
  return inverse;
}

/// In place: a row's exponentials times `inverse`; into `dropped` with their draws from the one of
/// `place` on, which may be the same row.
[[gnu::always_inline]] static inline void normalize_and_draw(float* row, float* dropped,
                                                             std::int64_t columns, float inverse,
                                                             DropoutDraws draws,
                                                             std::int64_t place) {
  if (dropped == row) {
    for (std::int64_t i = 0; i < columns; ++i) row[i] = row[i] * inverse * draws.factor(place + i);
    return;
  }
  for (std::int64_t i = 0; i < columns; ++i) {
    row[i] *= inverse;
    dropped[i] = row[i] * draws.factor(place + i);
  }
}

/// In place: softmax of scale * scores + bias, zeros where a query sees nothing; into `dropped`
/// with their draws, which may be the same array. A few rows at a time, so that no row waits for
/// the sum of the row before. A template: the baseline has none of these.
template <typename Scores>
[[gnu::noinline, gnu::flatten]] static void probabilities(const Scores& s, float* p, float* dropped,
                                                          Dropout dropout, float scale) {
  constexpr std::int64_t kRows = 4;
  const DropoutDraws draws(dropout);
  for (std::int64_t first = 0; first < s.rows; first += kRows) {
    const std::int64_t end = std::min(first + kRows, s.rows);
    float inverse[kRows];
    for (std::int64_t t = first; t < end; ++t)
      inverse[t - first] = row_exponentials(s, t, p + t * s.stride, scale);
    for (std::int64_t t = first; t < end; ++t) {
      float* row = p + t * s.stride;
      const float factor = inverse[t - first];
      if (dropout.rate == 0.0F) {
        for (std::int64_t i = 0; i < s.columns; ++i) row[i] *= factor;
      } else {
        normalize_and_draw(row, dropped + t * s.stride, s.columns, factor, draws,
                           s.place + t * s.pitch + s.first_key);
      }
    }
  }
}

/// In place: the gradient of the scores before their scale, times the scale, from that of the
/// dropped probabilities.
template <typename Scores>
[[gnu::noinline, gnu::flatten]] static void probabilities_backward(const Scores& s, const float* p,
                                                                   float* g, Dropout dropout,
                                                                   float scale) {
  const DropoutDraws draws(dropout);
  for (std::int64_t t = 0; t < s.rows; ++t) {
    const float* pr = p + t * s.stride;
    float* gr = g + t * s.stride;
    const runtime::PositionRange seen = s.seen(t);
    const std::int64_t place = s.place + t * s.pitch + s.first_key;
    if (dropout.rate != 0.0F) {
      for (std::int64_t i = seen.begin; i < seen.end; ++i) gr[i] *= draws.factor(place + i);
    }
    const float dot = lane_sum(seen.end - seen.begin, [&](std::int64_t i) {
      return pr[seen.begin + i] * gr[seen.begin + i];
    });
    for (std::int64_t i = seen.begin; i < seen.end; ++i) gr[i] = pr[i] * (gr[i] - dot) * scale;
    clear_unseen(gr, seen, s.columns);
  }
}

/// to [8, to_stride] = the transpose of the first `real` of 8 rows of 8; the others count as zeros.
template <typename Eight>
[[gnu::always_inline]] static inline void transpose_block(const float* from,
                                                          std::int64_t from_stride,
                                                          std::int64_t real, float* to,
                                                          std::int64_t to_stride) {
  typename Eight::Type in[8], pairs[8], fours[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    in[i] = i < real ? Eight::load(from + i * from_stride) : typename Eight::Type{};
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = __builtin_shufflevector(in[i], in[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(in[i], in[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    fours[i] = __builtin_shufflevector(pairs[i], pairs[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    fours[i + 1] = __builtin_shufflevector(pairs[i], pairs[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    fours[i + 2] = __builtin_shufflevector(pairs[i + 1], pairs[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    fours[i + 3] = __builtin_shufflevector(pairs[i + 1], pairs[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    Eight::store(to + i * to_stride,
                 __builtin_shufflevector(fours[i], fours[i + 4], 0, 1, 2, 3, 8, 9, 10, 11));
    Eight::store(to + (i + 4) * to_stride,
                 __builtin_shufflevector(fours[i], fours[i + 4], 4, 5, 6, 7, 12, 13, 14, 15));
  }
}

/// fp32 rows whose width is whole vectors.
struct Rows {
  const float* data;
  std::int64_t stride;
};

/// One thread's memory, part after part.
class Scratch {
 public:
  explicit Scratch(float* begin) : next_(begin) {}
  float* take(std::int64_t floats) {
    float* out = next_;
    next_ += floats;
    return out;
  }

 private:
  float* next_;
};

}  // namespace th::model::TH_ISA
