#include <gtest/gtest.h>

#include "th/train/loss_scale.hpp"

#include <vector>

namespace th::train {
namespace {

using Verdict = LossScale::Verdict;

LossScale with(double initial, std::int64_t window, std::int64_t hysteresis = 2,
               double smallest = 0x1p-10) {
  config::PrecisionSection precision;
  precision.loss_scale = initial;
  precision.loss_scale_window = window;
  precision.loss_scale_hysteresis = hysteresis;
  precision.loss_scale_min = smallest;
  return LossScale(precision);
}

TEST(LossScale, WithoutHysteresisEachOverflowHalvesDownToTheSmallest) {
  LossScale scale = with(8, 1000, 1, 2);
  EXPECT_EQ(scale.update(true), Verdict::kHalved);
  EXPECT_EQ(scale.update(true), Verdict::kHalved);
  EXPECT_EQ(scale.scale(), 2);
  EXPECT_EQ(scale.update(true), Verdict::kExhausted);
  EXPECT_EQ(scale.scale(), 2);
}

TEST(LossScale, AWindowRestoresTheWholeHysteresis) {
  LossScale scale = with(8, 1, 3);
  EXPECT_EQ(scale.update(true), Verdict::kKept);
  EXPECT_EQ(scale.update(true), Verdict::kKept);
  EXPECT_EQ(scale.update(false), Verdict::kFine);
  EXPECT_EQ(scale.update(true), Verdict::kKept);
  EXPECT_EQ(scale.update(true), Verdict::kKept);
  EXPECT_EQ(scale.update(true), Verdict::kHalved);
}

TEST(LossScale, DoublesAfterTheWindowWithoutOverflow) {
  LossScale scale = with(65536, 3);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(scale.update(false), Verdict::kFine);
  EXPECT_EQ(scale.scale(), 65536);
  scale.update(false);
  EXPECT_EQ(scale.scale(), 131072);
  for (int i = 0; i < 3; ++i) scale.update(false);
  EXPECT_EQ(scale.scale(), 262144);
}

TEST(LossScale, TheFirstOverflowUsesUpTheHysteresisTheNextOnesHalve) {
  LossScale scale = with(65536, 1000);
  EXPECT_EQ(scale.update(true), Verdict::kKept);
  EXPECT_EQ(scale.scale(), 65536);
  EXPECT_EQ(scale.update(true), Verdict::kHalved);
  EXPECT_EQ(scale.scale(), 32768);
  scale.update(false);
  EXPECT_EQ(scale.update(true), Verdict::kHalved)
      << "the hysteresis comes back with a whole window only";
  EXPECT_EQ(scale.scale(), 16384);
}

TEST(LossScale, AnOverflowBeginsTheWindowAnew) {
  LossScale scale = with(8, 2);
  scale.update(false);
  scale.update(true);
  scale.update(false);
  EXPECT_EQ(scale.scale(), 8);
  scale.update(false);
  EXPECT_EQ(scale.scale(), 16);
  EXPECT_EQ(scale.update(true), Verdict::kKept) << "a whole window restores the hysteresis";
}

TEST(LossScale, BelowOneItGoesOnToTwoToTheMinusTen) {
  LossScale scale = with(2, 1000);
  std::vector<Verdict> seen;
  for (int i = 0; i < 13; ++i) seen.push_back(scale.update(true));
  EXPECT_EQ(seen[0], Verdict::kKept);
  EXPECT_EQ(seen[1], Verdict::kHalved);  // 1
  for (std::size_t i = 2; i < 12; ++i) EXPECT_EQ(seen[i], Verdict::kBelowOne) << i;
  EXPECT_EQ(seen[12], Verdict::kExhausted);
  EXPECT_EQ(scale.scale(), 0x1p-10);
}

TEST(LossScale, GoesOnFromWhatACheckpointKept) {
  LossScale first = with(1024, 4), second = with(65536, 4);
  for (const bool overflow : {false, true, true, false, false}) first.update(overflow);
  second.restore(first.state());
  for (const bool overflow : {false, false, true, false}) {
    EXPECT_EQ(first.update(overflow), second.update(overflow));
    EXPECT_EQ(first.scale(), second.scale());
  }
}

TEST(LossScale, OnlyFp16BeginsAboveOne) {
  config::RunConfig config;
  EXPECT_EQ(initial_loss_scale(config), 1.0);
  config.precision.dtype = ElementType::kBf16;
  EXPECT_EQ(initial_loss_scale(config), 1.0);
  config.precision.dtype = ElementType::kFp16;
  EXPECT_EQ(initial_loss_scale(config), 65536.0);
}

}  // namespace
}  // namespace th::train
