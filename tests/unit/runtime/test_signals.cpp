#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <ctime>
#include <string>

#include "th/runtime/observe/signals.hpp"

namespace {

using th::runtime::Deadline;
using th::runtime::StopSignals;

TEST(StopSignals, FirstStopIsKeptAndCheckpointIsTakenOnce) {
  StopSignals::install();
  EXPECT_EQ(StopSignals::stop_requested(), 0);
  std::raise(SIGUSR2);
  EXPECT_TRUE(StopSignals::take_checkpoint_request());
  EXPECT_FALSE(StopSignals::take_checkpoint_request());
  EXPECT_EQ(StopSignals::stop_requested(), 0);
  std::raise(SIGUSR1);
  std::raise(SIGTERM);
  EXPECT_EQ(StopSignals::stop_requested(), SIGUSR1);
}

TEST(StopSignals, SecondInterruptEndsTheProcess) {
  EXPECT_EXIT(
      {
        StopSignals::install();
        std::raise(SIGINT);
        std::raise(SIGINT);
        std::exit(0);
      },
      testing::KilledBySignal(SIGINT), "");
}

TEST(Deadline, MinutesThenSlurmThenNone) {
  const std::string end = std::to_string(std::time(nullptr) + 100);
  setenv("SLURM_JOB_END_TIME", end.c_str(), 1);
  EXPECT_NEAR(Deadline(0.5).seconds_left().value(), 30, 1);
  EXPECT_NEAR(Deadline(0).seconds_left().value(), 100, 2);
  setenv("SLURM_JOB_END_TIME", "soon", 1);
  EXPECT_FALSE(Deadline(0).seconds_left());
  unsetenv("SLURM_JOB_END_TIME");
  EXPECT_FALSE(Deadline(0).seconds_left());
}

}  // namespace
