#include <gtest/gtest.h>

#include "th/base/exact_sum.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace th {
namespace {

double sum_of(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double term : terms) sum.add(term);
  return ExactSum::value(sum.parts());
}

TEST(ExactSum, AnyOrderAndAnyPartsGiveTheSameBits) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> any(-3.0, 60.0);
  std::vector<double> terms(5000);
  double plain = 0;
  for (double& term : terms) plain += term = any(random);
  const double want = sum_of(terms);
  EXPECT_NEAR(want, plain, 5000 * 0x1p-33 + 1e-9);
  for (int trial = 0; trial < 20; ++trial) {
    std::shuffle(terms.begin(), terms.end(), random);
    EXPECT_EQ(sum_of(terms), want);
    const auto cut = static_cast<std::size_t>(random() % terms.size());
    ExactSum one, other;
    for (std::size_t i = 0; i < terms.size(); ++i) (i < cut ? one : other).add(terms[i]);
    ExactSum::Parts parts = one.parts();
    for (std::size_t p = 0; p < parts.size(); ++p) parts[p] += other.parts()[p];
    EXPECT_EQ(ExactSum::value(parts), want) << cut;
  }
}

TEST(ExactSum, WholeNumbersAndNegativeOnesAreExact) {
  EXPECT_EQ(sum_of({}), 0.0);
  EXPECT_EQ(sum_of({-1.25, 3.0, 0.5}), 2.25);
  EXPECT_EQ(sum_of({1e15, 0.5, -1e15}), 0.5);
}

TEST(ExactSum, ATermThatIsNotFiniteShows) {
  const double infinite = std::numeric_limits<double>::infinity();
  EXPECT_EQ(sum_of({1.0, infinite, 2.0}), infinite);
  EXPECT_TRUE(std::isnan(sum_of({infinite, 1.0, -infinite})));
}

}  // namespace
}  // namespace th
