#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "th/train/observe/step_watch.hpp"

namespace th::train {
namespace {

using Lines = std::vector<std::string>;

const std::vector<std::string> kHosts{"a", "b", "c"};

/// Times of one step of three ranks that wait for the slowest, in seconds.
std::vector<StepTimes> step_of(double a, double b, double c, double data_of_c = 0) {
  std::vector<StepTimes> times{{0, a, 0}, {0, b, 0}, {data_of_c, c, 0}};
  double longest = 0;
  for (const StepTimes& t : times) longest = std::max(longest, t.data + t.compute);
  for (StepTimes& t : times) t.communication = longest - t.data - t.compute + 0.1;
  return times;
}

/// The lines of so many like steps.
Lines lines_of(StragglerWatch& watch, const std::vector<StepTimes>& times, std::int64_t steps,
               std::int64_t first = 1) {
  Lines all;
  for (std::int64_t step = first; step < first + steps; ++step)
    for (std::string& line : watch.observe(step, times)) all.push_back(std::move(line));
  return all;
}

TEST(StragglerWatch, NamesARankThatIsSlowerThanTheMedianByTheFactor) {
  StragglerWatch watch(1.3, 3, kHosts, {.steps = 4, .seconds = 1});
  EXPECT_EQ(lines_of(watch, step_of(1, 1.31, 1), 4),
            Lines{"rank 1 on b is slower than the others, which wait for it: compute took 1310.0 "
                  "ms a micro-batch in steps 1 to 4, 1000.0 ms on the median rank"});
  StragglerWatch calm(1.3, 3, kHosts, {.steps = 4, .seconds = 1});
  EXPECT_EQ(lines_of(calm, step_of(1, 1.29, 1), 40), Lines{});
}

TEST(StragglerWatch, TellsWaitingForDataFromCompute) {
  StragglerWatch watch(1.5, 3, kHosts, {.steps = 2, .seconds = 1});
  const Lines lines = lines_of(watch, step_of(1, 1, 1, 0.8), 2);
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_NE(lines[0].find("rank 2 on c is slower than the others, which wait for it: waiting for "
                          "data took 800.0 ms"),
            std::string::npos)
      << lines[0];
}

TEST(StragglerWatch, CountsTimeForAMicroBatch) {
  // Rank 0 has two of four micro-batches, the others one.
  StragglerWatch fair(1.5, 4, kHosts, {.steps = 2, .seconds = 1});
  EXPECT_EQ(lines_of(fair, step_of(2, 1, 1), 20), Lines{});
  StragglerWatch watch(1.5, 4, kHosts, {.steps = 2, .seconds = 1});
  EXPECT_EQ(lines_of(watch, step_of(2, 2, 1), 2).size(), 1U);
}

TEST(StragglerWatch, NamesARankThatStaysSlowMoreAndMoreRarely) {
  StragglerWatch watch(1.5, 3, kHosts, {.steps = 1, .seconds = 1});
  EXPECT_EQ(lines_of(watch, step_of(1, 1, 2), 31).size(), 5U) << "windows 1, 3, 7, 15 and 31";
  EXPECT_EQ(lines_of(watch, step_of(1, 1, 1), 1, 32).size(), 0U);
  EXPECT_EQ(lines_of(watch, step_of(1, 1, 2), 1, 33).size(), 1U) << "slow again";
}

TEST(StragglerWatch, LooksAtTheQuickerOfTwoRanksAndAtNothingWithFactor0) {
  StragglerWatch two(1.5, 2, {"a", "b"}, {.steps = 1, .seconds = 0});
  EXPECT_EQ(two.observe(1, std::vector<StepTimes>{{0, 1, 1}, {0, 1.6, 0.4}}).size(), 1U);
  StragglerWatch off(0, 3, kHosts, {.steps = 1, .seconds = 0});
  EXPECT_EQ(lines_of(off, step_of(1, 1, 9), 9), Lines{});
  StragglerWatch patient(1.5, 3, kHosts);
  EXPECT_EQ(lines_of(patient, step_of(0.01, 0.01, 0.02), 40), Lines{}) << "under five seconds";
}

TEST(MeanTimes, WaitingIsWhatTheSlowestRankDoesNotHave) {
  const MeanTimes mean = mean_times(step_of(1, 1, 4));
  EXPECT_DOUBLE_EQ(mean.compute, 2);
  EXPECT_DOUBLE_EQ(mean.communication, 2.1);
  EXPECT_DOUBLE_EQ(mean.waiting, 2);
  EXPECT_EQ(mean_times({}).compute, 0);
}

TEST(LossWatch, NotesALossFarAboveThoseBefore) {
  LossWatch watch;
  const auto usual = [](std::int64_t step) {
    return 3 + 0.1 * std::sin(static_cast<double>(step));
  };
  std::int64_t step = 1;
  for (; step <= 300; ++step) EXPECT_EQ(watch.observe(step, usual(step)), "") << step;
  const std::string line = watch.observe(step, 9);
  EXPECT_NE(line.find("Step 301: a loss spike, 9.0000 where the steps before had 2.9"),
            std::string::npos)
      << line;
  EXPECT_EQ(watch.observe(step + 1, 9.5), "") << "one line for a spike";
  EXPECT_EQ(watch.observe(step + 2, std::nan("")), "");
}

TEST(LossWatch, IsSilentWhereLossesFallOrWanderAndInTheFirstSteps) {
  LossWatch watch;
  for (std::int64_t step = 1; step <= 2000; ++step) {
    const auto at = static_cast<double>(step);
    EXPECT_EQ(watch.observe(step, 9 * std::exp(-at / 300) + 0.2 * std::sin(at * at)), "") << step;
  }
  LossWatch young;
  for (std::int64_t step = 1; step <= 40; ++step)
    EXPECT_EQ(young.observe(step, step == 30 ? 50 : 3), "");
}

}  // namespace
}  // namespace th::train
