// 16-bit types: every value there is, and every rounding decision near it, against arithmetic in
// fp64.
#include <gtest/gtest.h>

#include "th/base/half_float.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace th {
namespace {

/// The value of a 16-bit pattern with `exponent_bits` and `mantissa_bits`, by the definition.
double value_of(std::uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const double fraction =
      static_cast<double>(bits & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1)
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  return sign * (exponent == 0 ? std::ldexp(fraction, 1 - bias)
                               : std::ldexp(1 + fraction, exponent - bias));
}

template <typename T>
class HalfFloat : public testing::Test {
 public:
  static constexpr int kExponentBits = std::is_same_v<T, Bf16> ? 8 : 5;
  static constexpr int kMantissaBits = 15 - kExponentBits;
  static double exact(std::uint16_t bits) { return value_of(bits, kExponentBits, kMantissaBits); }
};
using Types = testing::Types<Bf16, Fp16>;
TYPED_TEST_SUITE(HalfFloat, Types);

TYPED_TEST(HalfFloat, EveryPatternHasItsValueAndComesBack) {
  for (std::uint32_t u = 0; u <= 0xffff; ++u) {
    const TypeParam half{static_cast<std::uint16_t>(u)};
    const double expected = TestFixture::exact(half.bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(to_float(half))) << u;
      EXPECT_TRUE(std::isnan(to_float(from_float<TypeParam>(to_float(half))))) << u;
      continue;
    }
    ASSERT_EQ(static_cast<double>(to_float(half)), expected) << u;
    ASSERT_EQ(from_float<TypeParam>(to_float(half)).bits, half.bits) << u;
  }
}

TYPED_TEST(HalfFloat, RoundsToNearestAndTiesToEven) {
  // Between each finite pattern and the next one up: below the middle down, the middle to the even
  // pattern, above it up.
  for (std::uint32_t u = 0; u < 0x7fff; ++u) {
    const double low = TestFixture::exact(static_cast<std::uint16_t>(u));
    double high = TestFixture::exact(static_cast<std::uint16_t>(u + 1));
    if (std::isnan(high) || std::isinf(low)) break;
    if (std::isinf(high))
      // Where the next value would be.
      high = 2 * low - TestFixture::exact(static_cast<std::uint16_t>(u - 1));
    const auto middle = static_cast<float>((low + high) / 2);
    if (static_cast<double>(middle) != (low + high) / 2)
      continue;  // bf16 below fp32's own subnormal grid
    const std::uint16_t even = static_cast<std::uint16_t>(u % 2 == 0 ? u : u + 1);
    ASSERT_EQ(from_float<TypeParam>(middle).bits, even) << u;
    ASSERT_EQ(from_float<TypeParam>(-middle).bits, even | 0x8000) << u;
    ASSERT_EQ(from_float<TypeParam>(std::nextafterf(middle, 0.0F)).bits, u) << u;
    ASSERT_EQ(from_float<TypeParam>(std::nextafterf(middle, INFINITY)).bits, u + 1) << u;
  }
}

TYPED_TEST(HalfFloat, InfinityAndNanStayWhatTheyAre) {
  EXPECT_TRUE(std::isinf(to_float(from_float<TypeParam>(INFINITY))));
  EXPECT_LT(to_float(from_float<TypeParam>(-INFINITY)), 0.0F);
  EXPECT_TRUE(std::isinf(to_float(from_float<TypeParam>(std::numeric_limits<float>::max()))));
  for (const std::uint32_t nan : {0x7f800001U, 0x7fffffffU, 0xff800001U, 0x7fc00000U}) {
    EXPECT_TRUE(std::isnan(to_float(from_float<TypeParam>(std::bit_cast<float>(nan))))) << nan;
  }
}

}  // namespace
}  // namespace th
