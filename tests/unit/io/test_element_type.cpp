#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "th/io/element_type.hpp"

namespace {
using namespace th::io;

constexpr std::uint32_t kAll = 65536;

/// The value of a 16-bit float by its definition: sign, exponent and fraction.
double defined_value(std::uint32_t bits, int exponent_bits) {
  const int fraction_bits = 15 - exponent_bits;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
  const int exponent = static_cast<int>((bits & 0x7fffU) >> fraction_bits);
  const double fraction = static_cast<double>(bits & ((1U << fraction_bits) - 1U)) / static_cast<double>(1 << fraction_bits);
  if (exponent == (1 << exponent_bits) - 1) return fraction == 0 ? sign * INFINITY : NAN;
  return exponent == 0 ? sign * std::ldexp(fraction, 1 - bias) : sign * std::ldexp(1.0 + fraction, exponent - bias);
}

/// Nearest of all finite patterns, ties to the even one, the first value beyond the largest one's half step to infinity.
std::uint16_t nearest(double value, const std::vector<double>& magnitudes) {
  const std::uint32_t sign = std::signbit(value) ? 0x8000U : 0U;
  const double size = std::abs(value);
  const auto above = static_cast<std::size_t>(std::lower_bound(magnitudes.begin(), magnitudes.end(), size) - magnitudes.begin());
  std::size_t best = above;
  if (above == magnitudes.size()) {
    const double largest = magnitudes.back();
    const double half_step = (largest - magnitudes[magnitudes.size() - 2]) / 2;
    best = size - largest >= half_step ? magnitudes.size() : magnitudes.size() - 1;  // the largest one is odd
  } else if (above > 0) {
    const double up = magnitudes[above] - size, down = size - magnitudes[above - 1];
    if (down < up || (down == up && above % 2 == 1)) best = above - 1;
  }
  return static_cast<std::uint16_t>(sign | best);
}

void check_rounding(int exponent_bits, std::uint16_t (*to)(float), float (*from)(std::uint16_t)) {
  std::vector<double> magnitudes;
  for (std::uint32_t bits = 0; std::isfinite(defined_value(bits, exponent_bits)); ++bits)
    magnitudes.push_back(defined_value(bits, exponent_bits));
  for (std::uint32_t bits = 0; bits < kAll; ++bits) {
    const double value = defined_value(bits, exponent_bits);
    const float seen = from(static_cast<std::uint16_t>(bits));
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(seen) && std::isnan(from(to(seen)))) << bits;
      continue;
    }
    ASSERT_EQ(std::bit_cast<std::uint32_t>(seen), std::bit_cast<std::uint32_t>(static_cast<float>(value))) << bits;
    ASSERT_EQ(to(seen), bits);
  }
  std::mt19937 random(7);
  for (int i = 0; i < 200000; ++i) {
    const float value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isnan(value)) continue;
    ASSERT_EQ(to(value), nearest(value, magnitudes)) << value;
  }
  for (std::size_t i = 0; i + 1 < magnitudes.size(); i += 3) {  // the ties, and their neighbours
    const auto tie = static_cast<float>((magnitudes[i] + magnitudes[i + 1]) / 2);
    for (const float value : {tie, std::nextafter(tie, INFINITY), std::nextafter(tie, 0.0F), -tie})
      ASSERT_EQ(to(value), nearest(value, magnitudes)) << value;
  }
}

TEST(ElementType, Float16RoundsToNearestEvenOverItsWholeRange) { check_rounding(5, to_float16, from_float16); }

TEST(ElementType, Bfloat16RoundsToNearestEvenOverItsWholeRange) { check_rounding(8, to_bfloat16, from_bfloat16); }

TEST(ElementType, TooLargeBecomesInfinityAndNanStays) {
  EXPECT_EQ(to_float16(65519.99F), 0x7bff);
  EXPECT_EQ(to_float16(65520.0F), 0x7c00);
  EXPECT_EQ(to_float16(-1e30F), 0xfc00);
  EXPECT_EQ(to_bfloat16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(to_bfloat16(-INFINITY), 0xff80);
  for (const std::uint32_t payload : {1U, 0x1fffU, 0x400000U, 0x7fffffU}) {  // also those whose payload is in the bits that are cut off
    const float nan = std::bit_cast<float>(0x7f800000U | payload);
    EXPECT_TRUE(std::isnan(from_float16(to_float16(nan)))) << payload;
    EXPECT_TRUE(std::isnan(from_bfloat16(to_bfloat16(nan)))) << payload;
  }
}

TEST(ElementType, EncodedBytesComeBack) {
  const std::vector<float> values = {0.0F, -0.0F, 1.5F, -2.0F, 0x1p-24F};
  for (const ElementType type : {ElementType::kFloat32, ElementType::kFloat16, ElementType::kBfloat16}) {
    const auto bytes = encode(values, type);
    EXPECT_EQ(std::ssize(bytes), element_size(type) * 5);
    std::vector<float> back(5);
    decode(bytes, type, back);
    EXPECT_EQ(back, values) << safetensors_name(type);
  }
  EXPECT_EQ(encode(std::vector<float>{1.5F}, ElementType::kBfloat16), (std::vector<std::byte>{std::byte{0xc0}, std::byte{0x3f}}));
}

}  // namespace
