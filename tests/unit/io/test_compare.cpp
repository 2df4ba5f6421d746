#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "th/io/checkpoint/compare.hpp"

namespace {
using namespace th::io;

Difference of(const std::vector<float>& a, const std::vector<float>& b) {
  Difference difference;
  compare(a, b, difference);
  return difference;
}

TEST(Compare, EqualBitsAreTheSameAlsoForNan) {
  const Difference d = of({1.0F, NAN, -0.0F}, {1.0F, NAN, -0.0F});
  EXPECT_EQ(d.differing, 0);
  EXPECT_EQ(d.count, 3);
  EXPECT_EQ(d.largest, 0.0);
}

TEST(Compare, StepsCountRepresentableValuesAlsoAcrossZero) {
  float x = 1.0F;
  for (int i = 0; i < 5; ++i) x = std::nextafter(x, 2.0F);
  EXPECT_EQ(of({1.0F}, {x}).ulps, 5);
  EXPECT_EQ(of({1.0F}, {x}).largest, 5.0 * 0x1p-23);
  EXPECT_EQ(of({0x1p-149F}, {-0x1p-149F}).ulps, 2);  // the two denormals beside zero
  const Difference zeros = of({0.0F}, {-0.0F});
  EXPECT_EQ(zeros.ulps, 0);
  EXPECT_EQ(zeros.differing, 1);
}

TEST(Compare, LargestOfSeveralCallsAndNanOnOneSide) {
  Difference d = of({1.0F, NAN}, {1.5F, 2.0F});
  compare(std::vector<float>{-4.0F}, std::vector<float>{4.0F}, d);
  EXPECT_EQ(d.count, 3);
  EXPECT_EQ(d.differing, 3);
  EXPECT_EQ(d.nan_in_a, 1);
  EXPECT_EQ(d.nan_in_b, 0);
  compare(std::vector<float>{2.0F, NAN, 1.0F}, std::vector<float>{NAN, NAN, NAN}, d);
  EXPECT_EQ(d.nan_in_a, 1);
  EXPECT_EQ(d.nan_in_b, 2);
  EXPECT_EQ(d.largest, 8.0);
}

TEST(Compare, VocabulariesSayHowManyTokensDifferAndWhichIsTheFirst) {
  EXPECT_EQ(vocabulary_difference({"a", "b"}, "A", {"a", "b"}, "B"), "");
  EXPECT_EQ(vocabulary_difference({"a", "b", "c"}, "A", {"a", "x", "c", "d"}, "B"),
            "3 tokens in A, 4 in B; 2 differ, the first at id 1: 'b' in A, 'x' in B");
  EXPECT_EQ(vocabulary_difference({}, "A", {"a"}, "B"),
            "0 tokens in A, 1 in B; 1 differ, the first at id 0: nothing in A, 'a' in B");
}

}  // namespace
