#include "th/model/kernels.hpp"

#include "th/base/half_float.hpp"
#include "th/base/hash.hpp"
#include "vector_math.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define TH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TH_CLONES
#endif

namespace th::model {

namespace {

/// A well mixed 32-bit word of (key, index): two rounds of multiply and shift over both halves of the key.
inline std::uint32_t draw(std::uint32_t low, std::uint32_t high, std::uint32_t i) {
  std::uint32_t x = (i ^ low) * 0x9e3779b1U;
  x ^= x >> 16;
  x += high;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  x ^= x >> 16;
  return x;
}

struct Draws {
  explicit Draws(Dropout d)
      : low(static_cast<std::uint32_t>(mix64(d.key))),
        high(static_cast<std::uint32_t>(mix64(d.key) >> 32)),
        threshold(static_cast<std::uint32_t>(std::lround(static_cast<double>(d.rate) * 16777216.0))),
        scale(1.0F / (1.0F - d.rate)) {}
  [[nodiscard]] float factor(std::int64_t i) const {
    return (draw(low, high, static_cast<std::uint32_t>(i)) >> 8) >= threshold ? scale : 0.0F;
  }
  std::uint32_t low, high, threshold;
  float scale;
};

constexpr int kLanes = 16;

/// Sum over n values in a fixed tree of 16 lanes: vectorises, and gives one result on every instruction set.
template <typename F>
inline float lane_sum(std::int64_t n, F value) {
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

template <typename T>
inline float row_maximum(const T* x, std::int64_t n) {
  float top = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < n; ++i) top = to_float(x[i]) > top ? to_float(x[i]) : top;
  return top;
}

}  // namespace

#define TH_ELEMENT float
#include "kernels_of_element.inc"
#undef TH_ELEMENT
#define TH_ELEMENT Bf16
#include "kernels_of_element.inc"
#undef TH_ELEMENT
#define TH_ELEMENT Fp16
#include "kernels_of_element.inc"
#undef TH_ELEMENT

}  // namespace th::model
