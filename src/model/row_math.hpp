#pragma once

#include <cstdint>
#include <limits>

#include "th/base/half_float.hpp"
#include "th/base/target_clones.hpp"

// Sums and maxima of a row that the kernels share.

namespace th::model {

inline constexpr int kLanes = 16;

/// Sum over n values in a fixed tree of 16 lanes: vectorises, and gives one result on every instruction set.
template <typename F>
static inline float lane_sum(std::int64_t n, F value) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lanes[l] += value(i + l);
  }
  for (int l = 0; i < n; ++i, ++l) lanes[l] += value(i);
  for (int w = kLanes / 2; w > 0; w /= 2) {
    for (int l = 0; l < w; ++l) lanes[l] += lanes[l + w];
  }
  return lanes[0];
}

/// The largest of n values, -infinity of none; what is not a number is passed over.
template <typename T>
static inline float row_maximum(const T* x, std::int64_t n) {
  float top = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < n; ++i) top = to_float(x[i]) > top ? to_float(x[i]) : top;
  return top;
}

}  // namespace th::model
