#include <gtest/gtest.h>

#include "th/train/overlap.hpp"

namespace {

using th::config::Overlap;

th::config::RunConfig with(Overlap overlap, std::int64_t threads) {
  th::config::RunConfig config;
  config.comm.overlap = overlap;
  config.run.threads = threads;
  return config;
}

TEST(Overlap, AutoWantsACoreForEachRankBesideItsComputeThreads) {
  const auto is_on = [](std::int64_t threads, int ranks, int cores) {
    return th::train::choose_overlap(with(Overlap::kAuto, threads), ranks, cores).overlap ==
           Overlap::kOn;
  };
  EXPECT_TRUE(is_on(1, 1, 2));
  EXPECT_FALSE(is_on(1, 1, 1));
  EXPECT_FALSE(is_on(1, 2, 2));
  EXPECT_FALSE(is_on(1, 2, 3));
  EXPECT_TRUE(is_on(1, 2, 4));
  EXPECT_FALSE(is_on(3, 4, 15));
  EXPECT_TRUE(is_on(3, 4, 16));
  EXPECT_FALSE(is_on(1, 1, 0)) << "not known";
}

TEST(Overlap, TheDecksWordStandsAndTheReasonIsTold) {
  EXPECT_EQ(th::train::choose_overlap(with(Overlap::kOff, 1), 1, 64).overlap, Overlap::kOff);
  EXPECT_EQ(
      th::train::choose_overlap(with(Overlap::kAuto, 1), 1, 64, th::runtime::Transport::kStaged)
          .overlap,
      Overlap::kOff);
  EXPECT_EQ(th::train::choose_overlap(with(Overlap::kAuto, 1), 4, 4, th::runtime::Transport::kNccl)
                .overlap,
            Overlap::kOn)
      << "a GPU needs no core";
  const th::train::OverlapChoice crowded = th::train::choose_overlap(with(Overlap::kOn, 1), 2, 2);
  EXPECT_EQ(crowded.overlap, Overlap::kOn);
  EXPECT_EQ(
      crowded.reason,
      "as the deck says; no core is free for it: 2 cores for 2 ranks with 1 compute thread each");
  EXPECT_EQ(th::train::choose_overlap(with(Overlap::kAuto, 2), 1, 4).reason,
            "auto: 4 cores for 1 rank with 2 compute threads each");
}

}  // namespace
