#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "th/base/error.hpp"
#include "th/train/run_state.hpp"

namespace th::train {
namespace {

RunState full_state() {
  RunState s;
  s.step = 123456789012345;
  s.epoch = 7;
  s.step_in_epoch = 41;
  s.epoch_loss_sum = 0.1 + 0.2;
  s.epoch_tokens = (std::int64_t{1} << 53) + 1;  // not an fp64
  s.epoch_seconds = 1e-300;
  s.micro_batches = 8;
  s.probe_loss = std::nextafter(3.0, 4.0);
  s.identity = "avx512 \"mkl\" 1 cpu\n2.11";
  s.altered = "an average of 2 checkpoints";
  s.exit = "completed";
  return s;
}

bool same_bits(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

TEST(RunState, ComesBackWithTheSameBits) {
  const RunState s = full_state();
  const RunState back = run_state_from_json(to_json(s));
  EXPECT_EQ(back.step, s.step);
  EXPECT_EQ(back.epoch, s.epoch);
  EXPECT_EQ(back.step_in_epoch, s.step_in_epoch);
  EXPECT_TRUE(same_bits(back.epoch_loss_sum, s.epoch_loss_sum));
  EXPECT_EQ(back.epoch_tokens, s.epoch_tokens);
  EXPECT_TRUE(same_bits(back.epoch_seconds, s.epoch_seconds));
  EXPECT_EQ(back.micro_batches, s.micro_batches);
  EXPECT_TRUE(same_bits(back.probe_loss, s.probe_loss));
  EXPECT_EQ(back.identity, s.identity);
  EXPECT_EQ(back.altered, s.altered);
  EXPECT_EQ(back.exit, s.exit);
}

TEST(RunState, ExtremeDoublesComeBackWithTheSameBits) {
  for (const double value :
       {std::numeric_limits<double>::max(), std::numeric_limits<double>::denorm_min(), -0.0,
        1.0 / 3.0, 2345.6789012345678}) {
    RunState s;
    s.epoch_loss_sum = value;
    EXPECT_TRUE(same_bits(run_state_from_json(to_json(s)).epoch_loss_sum, value)) << value;
  }
}

TEST(RunState, ANewRunStandsAtStepZeroAndHasNotEnded) {
  const RunState back = run_state_from_json(to_json(RunState{}));
  EXPECT_EQ(back.step, 0);
  EXPECT_EQ(back.epoch_tokens, 0);
  EXPECT_TRUE(back.exit.empty());
}

TEST(RunState, TheSameStateIsTheSameText) {
  EXPECT_EQ(to_json(full_state()), to_json(run_state_from_json(to_json(full_state()))));
}

TEST(RunState, WhatIsNotARunStateIsACheckpointError) {
  for (const char* text :
       {"", "{", "[]", "null", "17", "{}", "{\"step\":1}", "garbage", "{\"step\":\"one\"}"}) {
    EXPECT_THROW((void)run_state_from_json(text), CheckpointError) << text;
  }
}

TEST(RunState, NumbersThatAreNoIntegersAreRefused) {
  for (const char* step : {"1.5", "1e300", "true", "9223372036854775808", "[[[[7]]]]"}) {
    std::string text = to_json(full_state());
    const std::string field = "\"step\":123456789012345";
    ASSERT_NE(text.find(field), std::string::npos);
    text.replace(text.find(field), field.size(), std::string("\"step\":") + step);
    EXPECT_THROW((void)run_state_from_json(text), CheckpointError) << step;
  }
}

TEST(RunState, AMissingFieldIsNamed) {
  std::string text = to_json(full_state());
  text.replace(text.find("\"probe_loss\""), 12, "\"probe_lost\"");
  try {
    (void)run_state_from_json(text);
    FAIL() << "no error";
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find("probe_loss"), std::string::npos) << error.what();
  }
}

TEST(RunState, ParametersAreTheRunsOwnWhereNothingIsSaid) {
  std::string text = to_json(full_state());
  const std::string field = "\"altered\":\"an average of 2 checkpoints\",";
  text.erase(text.find(field), field.size());
  EXPECT_EQ(run_state_from_json(text).altered, "");
}

TEST(RunState, UnknownFieldsOfALaterFormatDoNotHinder) {
  std::string text = to_json(full_state());
  text.insert(1, "\"later\":[1,2],");
  EXPECT_EQ(run_state_from_json(text).step, full_state().step);
}

}  // namespace
}  // namespace th::train
