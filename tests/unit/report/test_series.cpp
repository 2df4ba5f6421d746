#include "app/report/parts/series.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace {

using th::app::Series;

TEST(Series, KeepsFewPointsAsTheyAre) {
  Series series;
  for (int step = 1; step <= 400; ++step) series.add(step, 10.0 / step);
  const auto bins = series.bins();
  ASSERT_EQ(bins.size(), 400U);
  EXPECT_EQ(series.width(), 1);
  for (int i = 0; i < 400; ++i) {
    const Series::Bin& bin = bins[static_cast<std::size_t>(i)];
    EXPECT_EQ(bin.x, i + 1);
    EXPECT_EQ(bin.mean, 10.0 / (i + 1));
    EXPECT_EQ(bin.low, bin.high);
    EXPECT_EQ(bin.count, 1);
  }
}

TEST(Series, BinsOfAMillionPointsHoldMeanAndExtremesOfTheirOwn) {
  constexpr std::int64_t kPoints = 1'000'000, kWidth = 4096;  // 1e6 / 4096 = 244.1 bins
  const auto value = [](std::int64_t step) { return static_cast<double>((step * 7919) % 1000); };
  Series series;
  for (std::int64_t step = 1; step <= kPoints; ++step)
    series.add(static_cast<double>(step), value(step));
  EXPECT_EQ(series.count(), kPoints);
  EXPECT_EQ(series.width(), kWidth);
  const auto bins = series.bins();
  ASSERT_EQ(bins.size(), 245U);
  for (std::size_t i = 0; i < bins.size(); ++i) {
    const std::int64_t begin = 1 + static_cast<std::int64_t>(i) * kWidth,
                       end = std::min(begin + kWidth, kPoints + 1);
    double sum = 0, low = HUGE_VAL, high = -HUGE_VAL;
    for (std::int64_t step = begin; step < end; ++step) {
      sum += value(step);
      low = std::min(low, value(step));
      high = std::max(high, value(step));
    }
    EXPECT_EQ(bins[i].count, end - begin);
    EXPECT_DOUBLE_EQ(bins[i].mean, sum / static_cast<double>(end - begin));
    EXPECT_DOUBLE_EQ(bins[i].x, static_cast<double>(begin + end - 1) / 2);
    EXPECT_EQ(bins[i].low, low);
    EXPECT_EQ(bins[i].high, high);
  }
}

TEST(Series, ASpikeOfOnePointIsNotLost) {
  Series series;
  for (int step = 1; step <= 100'000; ++step) series.add(step, step == 54'321 ? 1000.0 : 1.0);
  const auto bins = series.bins();
  EXPECT_LE(bins.size(), Series::kMost);
  EXPECT_EQ(std::count_if(bins.begin(), bins.end(), [](const auto& b) { return b.high == 1000; }),
            1);
  EXPECT_EQ(series.highest().x, 54'321);
  EXPECT_EQ(series.highest().y, 1000);
  EXPECT_EQ(series.lowest().x, 1);
}

TEST(Series, FewPointsFarApartAreNotThinned) {
  Series series;
  for (int step = 59; step <= 100'000; step += 590) series.add(step, 1.0 / step);
  EXPECT_GT(series.width(), 1);
  EXPECT_FALSE(series.thinned());
  EXPECT_EQ(std::ssize(series.bins()), series.count());
  series.add(59, 1);
  EXPECT_TRUE(series.thinned());
}

TEST(Series, WeightsAreThoseOfTheMean) {
  // Tokens a second of two steps: 100 in 1 s and 100 in 3 s are 200 in 4 s.
  Series series;
  for (int step = 1; step <= 800; ++step)
    series.add(step, step % 2 == 1 ? 100.0 : 100.0 / 3, step % 2 == 1 ? 1 : 3);
  EXPECT_EQ(series.width(), 2);
  for (const Series::Bin& bin : series.bins()) EXPECT_DOUBLE_EQ(bin.mean, 50);
}

TEST(Series, LeavesOutWhatIsNotFinite) {
  Series series;
  series.add(1, std::numeric_limits<double>::quiet_NaN());
  series.add(2, std::numeric_limits<double>::infinity());
  series.add(3, 1, 0);
  EXPECT_TRUE(series.empty());
  EXPECT_TRUE(series.bins().empty());
  series.add(4, 5);
  EXPECT_EQ(series.count(), 1);
  EXPECT_EQ(series.last().x, 4);
}

TEST(Series, StepsFarApartAndOutOfOrderNeedNoMoreBins) {
  Series series;
  series.add(1e15, 1);
  series.add(1, 2);  // before the first one: it stands in the first bin
  series.add(3e15, 3);
  const auto bins = series.bins();
  ASSERT_EQ(bins.size(), 2U);
  EXPECT_EQ(bins[0].count, 2);
  EXPECT_EQ(bins[1].x, 3e15);
}

}  // namespace
