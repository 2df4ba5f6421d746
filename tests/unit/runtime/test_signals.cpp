#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>

#include "th/runtime/observe/deadline.hpp"
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

TEST(Deadline, AnEndOfThePastIsToldAndLimitsNothing) {
  setenv("SLURM_JOB_END_TIME", std::to_string(std::time(nullptr) - 86400).c_str(), 1);
  Deadline deadline(0);
  EXPECT_FALSE(deadline.seconds_left());
  EXPECT_NE(deadline.warning().find("SLURM_JOB_END_TIME is past"), std::string::npos);
  EXPECT_TRUE(Deadline(1).warning().empty());
  EXPECT_EQ(Deadline(1.5).name(), "run.max_minutes=1.5");
  unsetenv("SLURM_JOB_END_TIME");
}

TEST(Deadline, SqueuesAnswerTakesThePlaceOfTheVariables) {
  const std::string folder = testing::TempDir() + "th_squeue_" + std::to_string(getpid());
  std::filesystem::create_directory(folder);
  const std::string script = folder + "/squeue";
  std::ofstream(script) << "#!/bin/sh\n[ \"$3\" = 77 ] && echo 1-00:00:10\n";
  std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  const std::string path = std::getenv("PATH");
  setenv("PATH", (folder + ":" + path).c_str(), 1);
  setenv("SLURM_JOB_ID", "77", 1);
  setenv("SLURM_JOB_END_TIME", std::to_string(std::time(nullptr) + 100).c_str(), 1);
  Deadline deadline(0);
  const std::time_t patience = std::time(nullptr) + 10;
  while (deadline.seconds_left().value() < 200 && std::time(nullptr) < patience) usleep(10000);
  EXPECT_NEAR(deadline.seconds_left().value(), 86410, 15);
  unsetenv("SLURM_JOB_ID");
  unsetenv("SLURM_JOB_END_TIME");
  setenv("PATH", path.c_str(), 1);
  std::filesystem::remove_all(folder);
}

TEST(SlurmSeconds, TimesAndOtherText) {
  using th::runtime::slurm_seconds;
  EXPECT_EQ(slurm_seconds("1-02:03:04\n"), 93784);
  EXPECT_EQ(slurm_seconds("02:03:04"), 7384);
  EXPECT_EQ(slurm_seconds("3:04"), 184);
  for (const char* text : {"", "UNLIMITED", "INVALID", "NOT_SET", "12", "1:2:3:4", "-5:00", "a:b"})
    EXPECT_FALSE(slurm_seconds(text)) << text;
}

TEST(StopSignals, Names) {
  EXPECT_EQ(StopSignals::name(SIGTERM), "SIGTERM");
  EXPECT_EQ(StopSignals::name(SIGXCPU), "SIGXCPU");
}

}  // namespace
