#include "th/model/kernels.hpp"

#include "th/base/half_float.hpp"
#include "th/base/hash.hpp"
#include "row_math.hpp"
#include "vector_math.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

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
