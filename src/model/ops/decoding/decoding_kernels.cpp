#include "model/ops/decoding/decoding_kernels.hpp"

#include "model/ops/row_math.hpp"
#include "th/base/half_float.hpp"
#include "th/base/vector_math.hpp"

#include <cmath>
#include <limits>

// The kernels of decoding for one instruction set, TH_ISA (cmake/ThIsa.cmake).
namespace th::model::TH_ISA {

namespace {

/// Keys that are fetched ahead: they lie far apart, often outside of the processor's caches.
constexpr std::int64_t kAhead = 4;
/// Asks for `count` elements.
template <typename T>
[[gnu::always_inline]] inline void fetch(const T* from, std::int64_t count) {
  constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));
  for (std::int64_t i = 0; i < count; i += kLine) __builtin_prefetch(from + i);
}

/// scores [H, keys] of the scaled query q.
template <typename T>
void scores_of(const AttendOne<T>& o, const float* q, float* scores) {
  for (std::int64_t s = 0; s < o.keys; ++s) {
    if (s + kAhead < o.keys) fetch(o.pairs[s + kAhead], o.heads * o.width);
    for (std::int64_t h = 0; h < o.heads; ++h) {
      const float* head = q + h * o.width;
      const T* key = o.pairs[s] + h * o.width;
      scores[h * o.keys + s] =
          lane_sum(o.width, [&](std::int64_t k) { return head[k] * to_float(key[k]); });
    }
  }
  if (!o.rule.biased()) return;
  for (std::int64_t h = 0; h < o.heads; ++h) {
    for (std::int64_t s = 0; s < o.keys; ++s)
      scores[h * o.keys + s] += o.rule.bias(h, o.position, o.first_key + s);
  }
}

/// Zeros for the keys that the query leaves out.
template <typename T>
void clear_gaps(const AttendOne<T>& o, float* probabilities) {
  for (std::int64_t s = 0; s < o.keys; ++s) {
    if (o.rule.sees(o.position, o.first_key + s)) continue;
    for (std::int64_t h = 0; h < o.heads; ++h) probabilities[h * o.keys + s] = 0.0F;
  }
}

template <typename T>
[[gnu::flatten]] void compute(const AttendOne<T>& given) {
  const AttendOne<T> o = given;  // a copy, which no store below can change
  const std::int64_t columns = o.heads * o.width;
  const float scale = 1.0F / std::sqrt(static_cast<float>(o.width));
  float* q = o.scratch;
  float* sums = q + columns;
  float* scores = sums + columns;
  for (std::int64_t d = 0; d < columns; ++d) q[d] = to_float(o.query[d]) * scale;
  for (std::int64_t d = 0; d < columns; ++d) sums[d] = 0.0F;
  scores_of(o, q, scores);
  for (std::int64_t h = 0; h < o.heads; ++h) softmax_row(scores + h * o.keys, o.keys);
  if (o.rule.gaps()) clear_gaps(o, scores);
  for (std::int64_t s = 0; s < o.keys; ++s) {
    if (s + kAhead < o.keys) fetch(o.pairs[s + kAhead] + columns, columns);
    for (std::int64_t h = 0; h < o.heads; ++h) {
      const float weight = scores[h * o.keys + s];
      const T* value = o.pairs[s] + columns + h * o.width;
      float* sum = sums + h * o.width;
      for (std::int64_t k = 0; k < o.width; ++k) sum[k] += weight * to_float(value[k]);
    }
  }
  for (std::int64_t d = 0; d < columns; ++d) o.out[d] = from_float<T>(sums[d]);
}

/// The largest logit of each block to `maxima`, and of all. `check` is 0 where every logit is a
/// finite number: 0 * x is not a number where x is infinite or none.
template <typename T>
[[gnu::always_inline]] inline float block_maxima(const T* logits, std::int64_t vocabulary,
                                                 float* maxima, float& check) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  float zeros[kLanes] = {};
  float top = kNone;
  const std::int64_t whole = vocabulary / kLogitBlock;
  for (std::int64_t b = 0; b < whole; ++b) {
    const T* block = logits + b * kLogitBlock;
    maxima[b] = row_maximum(block, kLogitBlock);
    top = larger(maxima[b], top);
    for (std::int64_t i = 0; i < kLogitBlock; i += kLanes) {
      for (int l = 0; l < kLanes; ++l) zeros[l] += to_float(block[i + l]) * 0.0F;
    }
  }
  const std::int64_t rest = vocabulary - whole * kLogitBlock;
  check = sum_lanes(zeros);
  if (rest == 0) return top;
  const T* last = logits + whole * kLogitBlock;
  maxima[whole] = row_maximum(last, rest);
  check += lane_sum(rest, [&](std::int64_t v) { return to_float(last[v]) * 0.0F; });
  return larger(maxima[whole], top);
}

template <typename T>
[[gnu::flatten]] void compute(const NormalizeRow<T>& given) {
  const NormalizeRow<T> o = given;
  float check = 0;
  const float top = block_maxima(o.logits, o.vocabulary, o.maxima, check);
  *o.out = {};
  if (!(check == 0.0F)) return;
  const float sum = lane_sum(
      o.vocabulary, [&](std::int64_t v) { return exp_fixed(to_float(o.logits[v]) - top); });
  *o.out = {static_cast<double>(top), std::log(static_cast<double>(sum)), true};
}

/// The sums of x with N rows, each as lane_sum has it.
template <int N, typename T>
[[gnu::always_inline]] inline void dots(const T* x, const T* const (&rows)[N], std::int64_t inputs,
                                        float (&sums)[N]) {
  float lanes[N][kLanes] = {};
  std::int64_t k = 0;
  for (; k + kLanes <= inputs; k += kLanes) {
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      for (int l = 0; l < kLanes; ++l) lanes[n][l] += to_float(x[k + l]) * to_float(rows[n][k + l]);
    }
  }
  for (int l = 0; k < inputs; ++k, ++l) {
    for (int n = 0; n < N; ++n) lanes[n][l] += to_float(x[k]) * to_float(rows[n][k]);
  }
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) sums[n] = sum_lanes(lanes[n]);
}

/// N outputs from number `i` on.
template <int N, typename T>
[[gnu::always_inline]] inline void dots_from(const ChosenDots<T>& o, std::int64_t i) {
  const T* rows[N];
  float sums[N];
  for (int n = 0; n < N; ++n) rows[n] = o.weight + o.ids[i + n] * o.stride;
  dots<N>(o.x, rows, o.inputs, sums);
  for (int n = 0; n < N; ++n)
    o.y[i + n] = o.bias != nullptr ? sums[n] + to_float(o.bias[o.ids[i + n]]) : sums[n];
}

template <typename T>
[[gnu::flatten]] void compute(const ChosenDots<T>& given) {
  const ChosenDots<T> o = given;
  std::int64_t i = 0;
  for (; i + 4 <= o.count; i += 4) dots_from<4>(o, i);
  for (; i < o.count; ++i) dots_from<1>(o, i);
}

/// The one adaptor between the tables' entries and the overloads above.
struct DecodingBodies {
  template <typename Operands>
  static constexpr bool has = true;

  template <typename Operands>
  [[gnu::flatten]] static void run(const Operands& operands, void*) {
    compute(operands);
  }
};

}  // namespace

constinit const DecodingTables kDecodingTables = DecodingTables::all_of<DecodingBodies>();

}  // namespace th::model::TH_ISA
