#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "th/base/half_float.hpp"
#include "th/base/hash.hpp"
#include "th/zero/optimizer.hpp"

// States of optimizers in bf16, rounded by draws.
namespace th::zero {
namespace {

float widened(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
}

TEST(RoundByDraw, OneOfTheTwoNeighboursAndTheRightMeanOverAllDraws) {
  for (const float x : {1.0039F, -3.1415927F, 1e-3F, 6.5e-30F, -7.77e20F}) {
    double sum = 0;
    const float below = widened(round_by_draw(x, 0)), above = widened(round_by_draw(x, 0xffff));
    EXPECT_LT(std::abs(below), std::abs(x));
    EXPECT_GT(std::abs(above), std::abs(x));
    for (std::uint32_t draw = 0; draw < 65536; ++draw) {
      const float rounded = widened(round_by_draw(x, draw));
      ASSERT_TRUE(rounded == below || rounded == above) << x << " became " << rounded;
      sum += static_cast<double>(rounded);
    }
    EXPECT_NEAR(sum / 65536, static_cast<double>(x), 1e-12 * std::abs(static_cast<double>(x)));
  }
}

TEST(RoundByDraw, WhatBf16HoldsStaysAndWhatIsNotFiniteTooForEveryDraw) {
  const float infinite = std::numeric_limits<float>::infinity();
  for (const std::uint32_t draw : {0U, 1U, 0x8000U, 0xffffU}) {
    for (const float x : {0.0F, -0.0F, 1.0F, -0.0078125F, 256.0F, infinite, -infinite})
      EXPECT_EQ(std::bit_cast<std::uint32_t>(widened(round_by_draw(x, draw))),
                std::bit_cast<std::uint32_t>(x));
    // A NaN whose bits are all in the half that goes.
    EXPECT_TRUE(std::isnan(widened(round_by_draw(std::bit_cast<float>(0x7f800001U), draw))));
  }
}

TEST(RoundingDraw, IsUniformAndUnlikeForElementsAndKeys) {
  constexpr int kDraws = 1 << 16;
  double sum = 0, products = 0;
  int equal = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double a = rounding_draw(7, i), next = rounding_draw(7, i + 1);
    ASSERT_LT(a, 65536);
    sum += a;
    products += (a - 32767.5) * (next - 32767.5);
    equal += rounding_draw(7, i) == rounding_draw(8, i) ? 1 : 0;
  }
  const double deviation = 65536 / std::sqrt(12.0);
  EXPECT_NEAR(sum / kDraws, 32767.5, 5 * deviation / std::sqrt(kDraws));
  EXPECT_NEAR(products / kDraws, 0, 5 * deviation * deviation / std::sqrt(kDraws));
  EXPECT_LT(equal, 20);  // 1 is to be expected
}

struct Short {
  std::vector<float> weights, gradients;
  std::vector<std::uint16_t> m, v;
  explicit Short(std::size_t n) : weights(n), gradients(n), m(n), v(n) {
    for (std::size_t i = 0; i < n; ++i) {
      weights[i] = static_cast<float>(static_cast<double>(hash_pair(1, i) >> 40) * 0x1.0p-24);
      gradients[i] = static_cast<float>(static_cast<double>(hash_pair(2, i) >> 40) * 0x1.0p-24);
    }
  }
  /// A step on elements [at, at + n), whose first is number `first + at`.
  void step(std::int64_t number, std::size_t at, std::size_t n, std::int64_t first) {
    OptimizerStep s;
    s.lr = 1e-3;
    s.step = number;
    runtime::UpdateFactors factors = update_factors(s);
    factors.draws = hash_pair(99, static_cast<std::uint64_t>(number));
    runtime::UpdateOperands o;
    o.weights = weights.data() + at;
    o.gradients = gradients.data() + at;
    o.short_states[0] = m.data() + at;
    o.short_states[1] = v.data() + at;
    o.count = static_cast<std::int64_t>(n);
    o.first = first + static_cast<std::int64_t>(at);
    apply_update(factors, o);
  }
  bool operator==(const Short&) const = default;
};

TEST(ShortStates, AnySplitOfTheBufferGivesTheSameBits) {
  constexpr std::size_t kCount = 6000;
  Short whole(kCount), parts(kCount), elsewhere(kCount);
  for (std::int64_t step = 1; step <= 3; ++step) {
    whole.step(step, 0, kCount, 512);
    elsewhere.step(step, 0, kCount, 768);
    for (std::size_t at = 0, cut = 0; at < kCount; ++cut) {
      const std::size_t n = std::min<std::size_t>(1 + hash_pair(3, cut) % 900, kCount - at);
      parts.step(step, at, n, 512);
      at += n;
    }
  }
  EXPECT_TRUE(whole == parts);
  EXPECT_FALSE(whole.m == elsewhere.m) << "draws do not depend on the element's number";
}

TEST(ShortStates, TheSecondMomentDoesNotStallWhereRoundingToTheNearestWould) {
  // beta2 0.999: each step moves exp_avg_sq by a thousandth of its distance, below half an ulp of
  // bf16 (2^-9) from half way on. By draws the mean over elements follows the exact value.
  constexpr std::size_t kCount = 4096;
  Short s(kCount);
  std::fill(s.gradients.begin(), s.gradients.end(), 1.0F);
  double exact = 0;
  for (std::int64_t step = 1; step <= 3000; ++step) {
    OptimizerStep o;
    o.settings.beta2 = 0.999;
    o.lr = 1e-6;
    o.step = step;
    runtime::UpdateFactors factors = update_factors(o);
    factors.draws = static_cast<std::uint64_t>(step);
    runtime::UpdateOperands operands;
    operands.weights = s.weights.data();
    operands.gradients = s.gradients.data();
    operands.short_states[0] = s.m.data();
    operands.short_states[1] = s.v.data();
    operands.count = kCount;
    apply_update(factors, operands);
    exact = 0.999 * exact + 0.001;
  }
  double mean = 0;
  for (const std::uint16_t bits : s.v) mean += static_cast<double>(widened(bits)) / kCount;
  EXPECT_NEAR(mean, exact, 2e-3 * exact);  // 0.950; to the nearest it would stay near 0.7
}

TEST(AverageElements, FollowTheFormulaAndBeginWithTheWeights) {
  std::vector<float> weights(1000), averages(1000, 5.0F);
  for (std::size_t i = 0; i < weights.size(); ++i)
    weights[i] = 0.001F * static_cast<float>(i) - 0.3F;
  average_elements(weights.data(), averages.data(), 1.0F, 1000);
  EXPECT_EQ(weights, averages);
  std::vector<double> want(averages.begin(), averages.end());
  for (int step = 0; step < 10; ++step) {
    for (std::size_t i = 0; i < weights.size(); ++i) {
      weights[i] *= 0.9F;
      want[i] = 0.75 * want[i] + 0.25 * static_cast<double>(weights[i]);
    }
    average_elements(weights.data(), averages.data(), 0.25F, 1000);
  }
  for (std::size_t i = 0; i < weights.size(); ++i)
    EXPECT_NEAR(static_cast<double>(averages[i]), want[i], 10 * 0x1.0p-24);
}

}  // namespace
}  // namespace th::zero
