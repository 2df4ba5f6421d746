#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "th/train/watch/log_use.hpp"

namespace th::train {
namespace {

using runtime::EventLog;
using runtime::FlightRecord;
using What = FlightRecord::What;
using On = FlightRecord::On;

constexpr std::int64_t kMs = 1'000'000;

/// A log in the making; times in milliseconds, above 0.
struct MadeLog {
  FlightRecord record;
  std::shared_ptr<const EventLog> log = record.start_log();

  MadeLog& add(What what, On on, std::int64_t begin, std::int64_t end, std::int64_t unit = 0) {
    const auto event = record.open(what, on, unit);
    record.begin(event, begin * kMs);
    record.end(event, end * kMs);
    return *this;
  }
};

/// Of each collective: how long this rank waits where the last one comes at `latest`.
std::vector<double> waits(LogUse& use, const std::vector<std::int64_t>& latest) {
  std::vector<double> out;
  for (const std::int64_t at : latest) {
    const auto next = use.next();
    out.push_back(next ? use.waited(*next, at * kMs) : -1);
  }
  EXPECT_FALSE(use.next().has_value());
  return out;
}

TEST(LogUse, PartsTheTimeOfStepsWithoutOverlap) {
  MadeLog made;
  made.add(What::kBatch, On::kHost, 100, 110)
      .add(What::kForward, On::kCompute, 110, 140)
      .add(What::kReduce, On::kCommunication, 140, 160)
      .add(What::kNorm, On::kCompute, 160, 170, -1)
      .add(What::kUpdate, On::kCompute, 170, 190)
      .add(What::kStep, On::kHost, 100, 195)
      .add(What::kBorder, On::kHost, 195, 198);
  LogUse use(*made.log);
  EXPECT_EQ(count_collectives(*made.log), 3);
  EXPECT_EQ(use.steps(), 1);
  // The last one came to the reduction at 152, to the norm before this rank.
  const std::vector<double> waited = waits(use, {152, 150, 197});
  EXPECT_DOUBLE_EQ(waited[0], 0.012);
  EXPECT_DOUBLE_EQ(waited[1], 0);
  EXPECT_DOUBLE_EQ(waited[2], 0.002);
  const RankUse result = use.result();
  EXPECT_DOUBLE_EQ(result.seconds, 0.095);
  EXPECT_DOUBLE_EQ(result.data, 0.01);
  EXPECT_DOUBLE_EQ(result.compute, 0.05);
  EXPECT_DOUBLE_EQ(result.communication, 0.033 - 0.014);
  EXPECT_DOUBLE_EQ(result.waiting, 0.014);
  EXPECT_DOUBLE_EQ(result.hidden, 0);
}

TEST(LogUse, WhatComputeHidesIsNoLossWaitsTheSame) {
  MadeLog made;
  made.add(What::kStep, On::kHost, 1, 100)
      .add(What::kBackward, On::kCompute, 10, 50)
      .add(What::kReduce, On::kCommunication, 30, 70)
      .add(What::kReduce, On::kCommunication, 70, 80)
      .add(What::kBackward, On::kCompute, 75, 90);
  LogUse use(*made.log);
  const std::vector<double> waited = waits(use, {60, 78});
  EXPECT_DOUBLE_EQ(waited[0], 0.01) << "from 30 to 60, of which compute went on to 50";
  EXPECT_DOUBLE_EQ(waited[1], 0.005);
  const RankUse result = use.result();
  EXPECT_DOUBLE_EQ(result.compute, 0.055);
  EXPECT_DOUBLE_EQ(result.hidden, 0.025);
  EXPECT_DOUBLE_EQ(result.waiting, 0.015);
  EXPECT_DOUBLE_EQ(result.communication, 0.025 - 0.015);
}

TEST(LogUse, ValidationAndSavesBetweenStepsAreNotCounted) {
  MadeLog made;
  made.add(What::kStep, On::kHost, 1, 50)
      .add(What::kForward, On::kCompute, 5, 45)
      .add(What::kValidation, On::kHost, 50, 80)
      .add(What::kGather, On::kCommunication, 55, 65, 1)
      .add(What::kForward, On::kCompute, 65, 75)
      .add(What::kCheckpoint, On::kHost, 80, 95)
      .add(What::kStep, On::kHost, 100, 150)
      .add(What::kForward, On::kCompute, 105, 145)
      .add(What::kValidation, On::kHost, 150, 500);
  LogUse use(*made.log);
  const auto next = use.next();
  ASSERT_TRUE(next.has_value());
  EXPECT_FALSE(next->within_steps) << "it has arrows all the same";
  EXPECT_DOUBLE_EQ(use.waited(*next, 60 * kMs), 0);
  const RankUse result = use.result();
  EXPECT_EQ(use.steps(), 2);
  EXPECT_DOUBLE_EQ(result.seconds, 0.104);
  EXPECT_DOUBLE_EQ(result.compute, 0.08);
  EXPECT_DOUBLE_EQ(result.communication, 0);
}

TEST(LogUse, KeysTellCollectivesApart) {
  MadeLog made;
  made.record.set_step(3);
  made.add(What::kGather, On::kCommunication, 1, 2, 4)
      .add(What::kGather, On::kCommunication, 3, 4, 5);
  made.record.set_step(4);
  made.add(What::kGather, On::kCommunication, 5, 6, 4)
      .add(What::kReduce, On::kCommunication, 7, 8, 4);
  LogUse use(*made.log), other(*made.log);
  std::vector<double> keys;
  while (const auto next = use.next()) keys.push_back(next->key);
  ASSERT_EQ(keys.size(), 4U);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) EXPECT_NE(keys[i], keys[k]);
    EXPECT_EQ(other.next()->key, keys[i]) << "alike for alike events";
  }
}

TEST(LogUse, AnEmptyLogIsNothing) {
  MadeLog made;
  LogUse use(*made.log);
  EXPECT_FALSE(use.next().has_value());
  EXPECT_EQ(use.steps(), 0);
  EXPECT_EQ(use.result().seconds, 0);
}

}  // namespace
}  // namespace th::train
