#include "train/plan/speed_probe.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace th::train {
namespace {

TEST(SpeedProbe, TellsWorkThatHadNoCore) {
  // A sleeping process is one that waits for its turn, as far as its processor time shows.
  const MeasuredRate waiting =
      measure_rate([] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); });
  EXPECT_GT(waiting.calls, 0);
  EXPECT_LT(waiting.core_share, 0.5);
  const MeasuredRate working = measure_rate([] {
    volatile double x = 1;
    for (int i = 0; i < 100000; ++i) x = x * 1.0000001;
  });
  EXPECT_GT(working.core_share, 0);
  EXPECT_LE(working.core_share, 1);
}

TEST(SpeedProbe, SaysThatOthersUsedTheCoresWhereTheyClearlyDid) {
  EXPECT_EQ(measured_text(1), "measured here");
  EXPECT_EQ(measured_text(0.95), "measured here");
  EXPECT_EQ(measured_text(0.23),
            "measured while other programs used the cores: the probe had 23 % of one, so the time "
            "on free cores is shorter");
}

}  // namespace
}  // namespace th::train
