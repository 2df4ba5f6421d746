#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "th/base/half_float.hpp"
#include "th/base/vector_math.hpp"

// Sums and maxima of a row, for one instruction set: always part of the function that asks, so that
// no set can share them with another.
namespace th::model::TH_ISA {

inline constexpr int kLanes = 16;

/// All lanes in one, by a fixed tree.
template <typename Join>
[[gnu::always_inline]] static inline float join_lanes(float (&lanes)[kLanes], Join join) {
  for (int w = kLanes / 2; w > 0; w /= 2) {
    for (int l = 0; l < w; ++l) lanes[l] = join(lanes[l], lanes[l + w]);
  }
  return lanes[0];
}
/// The same for sums, in registers: compilers take join_lanes through memory.
[[gnu::always_inline]] static inline float sum_lanes(const float (&lanes)[kLanes]) {
  typedef float Sixteen __attribute__((vector_size(64)));
  typedef float Eight __attribute__((vector_size(32)));
  typedef float Four __attribute__((vector_size(16)));
  Sixteen all;
  __builtin_memcpy(&all, lanes, sizeof all);
  const Eight eight = __builtin_shufflevector(all, all, 0, 1, 2, 3, 4, 5, 6, 7) +
                      __builtin_shufflevector(all, all, 8, 9, 10, 11, 12, 13, 14, 15);
  const Four four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) +
                    __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
  const Four two = four + __builtin_shufflevector(four, four, 2, 3, 2, 3);
  return two[0] + two[1];
}

/// Sum over n values in a fixed tree of 16 lanes: vectorises, and gives one result on every
/// instruction set.
template <typename F>
[[gnu::always_inline]] static inline float lane_sum(std::int64_t n, F value) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lanes[l] += value(i + l);
  }
  for (int l = 0; i < n; ++i, ++l) lanes[l] += value(i);
  return sum_lanes(lanes);
}

/// The larger of two; what is not a number is passed over.
[[gnu::always_inline]] static inline float larger(float value, float top) {
  return value > top ? value : top;
}

/// The largest of n values, -infinity of none; what is not a number is passed over. In any order,
/// which changes no result: a serial maximum waits for each comparison.
template <typename T>
[[gnu::always_inline]] static inline float row_maximum(const T* x, std::int64_t n) {
  float top = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : top)
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = to_float(x[i]);
    top = value > top ? value : top;
  }
  return top;
}

/// In place softmax of n values, in blocks of lanes. The last block is filled up with values that
/// count as nothing: most rows of attention are short, and a scalar tail would take longer than all
/// whole blocks.
template <typename T>
[[gnu::always_inline]] static inline void softmax_row(T* s, std::int64_t n) {
  const std::int64_t whole = n / kLanes * kLanes, rest = n - whole;
  float last[kLanes], lanes[kLanes] = {};
  for (int l = 0; l < kLanes; ++l)
    last[l] = l < rest ? to_float(s[whole + l]) : -std::numeric_limits<float>::infinity();
  const float top = larger(row_maximum(s, whole), row_maximum(last, kLanes));
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float e = exp_fixed(to_float(s[i + l]) - top);
      if constexpr (std::is_same_v<T, float>) s[i + l] = e;
      lanes[l] += e;
    }
  }
  for (int l = 0; l < kLanes; ++l) {
    const float e = exp_fixed(last[l] - top);
    last[l] = l < rest ? e : 0.0F;
    lanes[l] += last[l];
  }
  const float inverse = 1.0F / sum_lanes(lanes);
  for (std::int64_t i = 0; i < whole; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      s[i] *= inverse;
    } else {  // the exponential again rather than rounded in between
      s[i] = from_float<T>(exp_fixed(to_float(s[i]) - top) * inverse);
    }
  }
  for (int l = 0; l < rest; ++l) s[whole + l] = from_float<T>(last[l] * inverse);
}

}  // namespace th::model::TH_ISA
