#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

#include "model/ops/attention/attention_tiles.hpp"
#include "model/ops/host_elements.hpp"
#include "model/ops/row_math.hpp"
#include "model/ops/vectors.hpp"
#include "th/runtime/ops/attention.hpp"

// What both arrangements of the host's attention are made of: a row's softmax with its draws and
// its gradient, transposes, a thread's memory.
namespace th::model::TH_ISA {

/// Rows of scores, `stride` apart, of the queries from `first` on and the keys [first_key,
/// first_key + columns) of `keys`; and where their draws begin: those of
/// row t at `place` and t times `pitch`.
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

/// A row in vectors of Lanes floats: what softmax_row() and lane_sum() say, operation for
/// operation. Rows that are no whole blocks of 16 are read up to the block's
/// end, so there must be memory; what is read there counts as nothing.
template <int Lanes>
struct RowOf {
  using Of = VectorOf<Lanes>;
  using Vector = typename Of::Type;
  using Integers = typename Of::Integers;
  static constexpr int kOfBlock = kLanes / Lanes;  ///< vectors of a block of 16
  static constexpr int kAtOnce = 4 / kOfBlock;     ///< blocks that are taken together

  /// 16 lanes.
  struct Block {
    Vector part[kOfBlock];
  };

  [[gnu::always_inline]] static inline Vector all(float x) { return Vector{} + x; }
  [[gnu::always_inline]] static inline Block load(const float* from) {
    Block out;
    for (int v = 0; v < kOfBlock; ++v) out.part[v] = Of::load(from + v * Lanes);
    return out;
  }
  [[gnu::always_inline]] static inline void store(float* to, const Block& from) {
    for (int v = 0; v < kOfBlock; ++v) Of::store(to + v * Lanes, from.part[v]);
  }
  /// The first `count` lanes of x, `other` in those behind them.
  [[gnu::always_inline]] static inline Block first(Block x, std::int64_t count, float other) {
    for (int v = 0; v < kOfBlock; ++v) {
      Integers lane;
      for (int l = 0; l < Lanes; ++l) lane[l] = v * Lanes + l;
      x.part[v] = lane < static_cast<std::int32_t>(count) ? x.part[v] : all(other);
    }
    return x;
  }
  [[gnu::always_inline]] static inline void store_first(const Block& x, std::int64_t count,
                                                        float* to) {
    float values[kLanes];
    store(values, x);
    for (int l = 0; l < count; ++l) to[l] = values[l];
  }
  /// All lanes in one by halves, as join_lanes().
  template <typename Join>
  [[gnu::always_inline]] static inline float joined(const Block& x, Join join) {
    VectorOf<8>::Type eight;
    if constexpr (kOfBlock == 2) {
      eight = join(x.part[0], x.part[1]);
    } else {
      eight = join(__builtin_shufflevector(x.part[0], x.part[0], 0, 1, 2, 3, 4, 5, 6, 7),
                   __builtin_shufflevector(x.part[0], x.part[0], 8, 9, 10, 11, 12, 13, 14, 15));
    }
    const VectorOf<4>::Type four = join(__builtin_shufflevector(eight, eight, 0, 1, 2, 3),
                                        __builtin_shufflevector(eight, eight, 4, 5, 6, 7));
    const VectorOf<4>::Type two = join(four, __builtin_shufflevector(four, four, 2, 3, 2, 3));
    return join(two, __builtin_shufflevector(two, two, 1, 1, 1, 1))[0];
  }

  struct Larger {
    template <typename V>
    [[gnu::always_inline]] inline V operator()(V value, V top) const {
      return value > top ? value : top;
    }
  };
  struct Sum {
    template <typename V>
    [[gnu::always_inline]] inline V operator()(V a, V b) const {
      return a + b;
    }
  };
  [[gnu::always_inline]] static inline void add(Block& to, const Block& x) {
    for (int v = 0; v < kOfBlock; ++v) to.part[v] += x.part[v];
  }

  /// exp_fixed() (th/base/vector_math.hpp) of x * scale - top for `Blocks` blocks. Each operation
  /// is made for all blocks before the next operation, because the next one waits for its result.
  template <int Blocks>
  [[gnu::always_inline]] static inline void exp(Block (&x)[Blocks], float scale, float top) {
    constexpr int kVectors = Blocks * kOfBlock;
    Vector r[kVectors], n[kVectors], p[kVectors];
    const auto each = [](auto step) {
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) step(i);
    };
    each([&](int i) { r[i] = x[i / kOfBlock].part[i % kOfBlock] * scale; });
    each([&](int i) { r[i] -= top; });
    each([&](int i) { r[i] = r[i] < -87.0F ? all(-87.0F) : r[i]; });
    each([&](int i) { n[i] = r[i] * 1.44269504088896341F; });
    each([&](int i) { n[i] += 12582912.0F; });
    each([&](int i) { n[i] -= 12582912.0F; });
    each([&](int i) { r[i] -= n[i] * 0.693359375F; });
    each([&](int i) { r[i] -= n[i] * -2.12194440e-4F; });
    each([&](int i) { p[i] = 1.9875691500e-4F * r[i]; });
    for (const float factor : {1.3981999507e-3F, 8.3334519073e-3F, 4.1665795894e-2F,
                               1.6666665459e-1F, 5.0000001201e-1F}) {
      each([&](int i) { p[i] += factor; });
      each([&](int i) { p[i] *= r[i]; });
    }
    each([&](int i) { p[i] *= r[i]; });
    each([&](int i) { p[i] += r[i]; });
    each([&](int i) { p[i] += 1.0F; });
    each([&](int i) {
      const Integers power = (__builtin_convertvector(n[i], Integers) + 127) << 23;
      x[i / kOfBlock].part[i % kOfBlock] = p[i] * reinterpret_cast<Vector>(power);
    });
  }

  /// In place: the exponentials of a softmax of scale * n scores, in a row that has `room` floats
  /// from the first of them on; zeros may be written behind them. Returns 1 / their sum, 0 of none.
  /// The order of sums is that of softmax_row(); a positive scale rounds the largest score to the
  /// largest.
  [[gnu::always_inline]] static inline float exponentials(float* s, std::int64_t n,
                                                          std::int64_t room, float scale) {
    if (n <= 0) return 0.0F;
    const std::int64_t whole = n / kLanes * kLanes, rest = n - whole;
    constexpr float kNone = -std::numeric_limits<float>::infinity();
    const Block last = rest > 0 ? first(load(s + whole), rest, kNone) : filled(kNone);
    const float top = largest(s, whole, last) * scale;
    Block sums = {};
    std::int64_t i = 0;
    for (; i + kAtOnce * kLanes <= whole; i += kAtOnce * kLanes) {
      Block x[kAtOnce];
      for (int b = 0; b < kAtOnce; ++b) x[b] = load(s + i + b * kLanes);
      exp(x, scale, top);
      for (int b = 0; b < kAtOnce; ++b) {
        store(s + i + b * kLanes, x[b]);
        add(sums, x[b]);
      }
    }
    for (; i < n; i += kLanes) {
      Block x[1] = {i < whole ? load(s + i) : last};
      exp(x, scale, top);
      if (i == whole) x[0] = first(x[0], rest, 0.0F);
      add(sums, x[0]);
      if (i + kLanes <= room) {
        store(s + i, x[0]);
      } else {
        store_first(x[0], rest, s + i);
      }
    }
    return 1.0F / joined(sums, Sum{});
  }

  /// The sum of n products, in the order of lane_sum().
  [[gnu::always_inline]] static inline float dot(const float* a, const float* b, std::int64_t n) {
    Block lanes = {};
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) add(lanes, product(a + i, b + i));
    if (i < n) add(lanes, first(product(a + i, b + i), n - i, 0.0F));
    return joined(lanes, Sum{});
  }

 private:
  [[gnu::always_inline]] static inline Block filled(float x) {
    Block out;
    for (int v = 0; v < kOfBlock; ++v) out.part[v] = all(x);
    return out;
  }
  [[gnu::always_inline]] static inline Block product(const float* a, const float* b) {
    Block out = load(a);
    const Block other = load(b);
    for (int v = 0; v < kOfBlock; ++v) out.part[v] *= other.part[v];
    return out;
  }
  /// The largest of whole blocks and of `top`; what is not a number is passed over.
  [[gnu::always_inline]] static inline float largest(const float* s, std::int64_t whole,
                                                     Block top) {
    Block other = top;
    std::int64_t i = 0;
    for (; i + 2 * kLanes <= whole; i += 2 * kLanes) {
      const Block x = load(s + i), y = load(s + i + kLanes);
      for (int v = 0; v < kOfBlock; ++v) {
        top.part[v] = Larger{}(x.part[v], top.part[v]);
        other.part[v] = Larger{}(y.part[v], other.part[v]);
      }
    }
    for (int v = 0; v < kOfBlock; ++v) {
      if (i < whole) top.part[v] = Larger{}(Of::load(s + i + v * Lanes), top.part[v]);
      top.part[v] = Larger{}(top.part[v], other.part[v]);
    }
    return joined(top, Larger{});
  }
};

/// In place: exponentials of what a row's query sees of scale * scores + bias, zeros elsewhere.
/// Returns 1 / their sum.
template <int Lanes, typename Scores>
[[gnu::always_inline]] static inline float row_exponentials(const Scores& s, std::int64_t t,
                                                            float* row, float scale) {
  const runtime::PositionRange seen = s.seen(t);
  float factor = scale;
  if (s.rule.biased()) {
    factor = 1.0F;
    for (std::int64_t i = seen.begin; i < seen.end; ++i)
      row[i] = row[i] * scale + s.rule.bias(s.head, s.first + t, s.first_key + i);
  }
  const float inverse = RowOf<Lanes>::exponentials(row + seen.begin, seen.end - seen.begin,
                                                   s.columns - seen.begin, factor);
  if (s.rule.gaps()) {
    for (std::int64_t i = seen.begin; i < seen.end; ++i)
      if (!s.rule.sees(s.first + t, s.first_key + i)) row[i] = 0.0F;
  }
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
template <int Lanes = kTile.lanes, typename Scores>
[[gnu::noinline, gnu::flatten]] static void probabilities(const Scores& s, float* p, float* dropped,
                                                          Dropout dropout, float scale) {
  constexpr std::int64_t kRows = 4;
  const DropoutDraws draws(dropout);
  for (std::int64_t first = 0; first < s.rows; first += kRows) {
    const std::int64_t end = std::min(first + kRows, s.rows);
    float inverse[kRows];
    for (std::int64_t t = first; t < end; ++t)
      inverse[t - first] = row_exponentials<Lanes>(s, t, p + t * s.stride, scale);
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
template <int Lanes = kTile.lanes, typename Scores>
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
    const float dot = RowOf<Lanes>::dot(pr + seen.begin, gr + seen.begin, seen.end - seen.begin);
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
