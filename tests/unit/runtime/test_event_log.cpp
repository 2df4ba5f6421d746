#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/observe/event_log.hpp"

namespace {

using th::runtime::BusyTime;
using th::runtime::EventLog;
using th::runtime::FlightRecord;
using What = FlightRecord::What;
using On = FlightRecord::On;

/// When an event was, in nanoseconds.
struct Interval {
  std::int64_t begin = 0, end = 0;
};

void add(FlightRecord& record, What what, On on, Interval when, std::int64_t unit = 0,
         std::int64_t slot = FlightRecord::kNone) {
  const auto event = record.open(what, on, unit, slot);
  record.begin(event, when.begin);
  record.end(event, when.end);
}

TEST(EventLog, KeepsWhatTheRingHasLostWithStepAndSlot) {
  FlightRecord record;
  add(record, What::kForward, On::kCompute, {1, 2});
  const auto log = record.start_log();
  constexpr std::int64_t kCount = 5 * static_cast<std::int64_t>(FlightRecord::kEvents);
  for (std::int64_t i = 0; i < kCount; ++i) {
    record.set_step(7 + i / 1000);
    add(record, What::kBackward, On::kCompute, {10 + 2 * i, 11 + 2 * i}, i % 9, i % 4);
  }
  ASSERT_EQ(log->size(), kCount) << "what came before is not in it";
  EXPECT_EQ(log->lost(), 0);
  for (std::int64_t i = 0; i < kCount; ++i) {
    const EventLog::Event* event = log->at(i);
    ASSERT_NE(event, nullptr);
    EXPECT_EQ(event->what, What::kBackward);
    EXPECT_EQ(event->begin, 10 + 2 * i);
    EXPECT_EQ(event->end, event->begin + 1);
    EXPECT_EQ(event->unit, i % 9);
    EXPECT_EQ(event->slot, i % 4);
    EXPECT_EQ(event->step, 7 + i / 1000);
  }
  record.stop_log();
  add(record, What::kForward, On::kCompute, {1, 2});
  EXPECT_EQ(log->size(), kCount) << "nor what comes after";
}

TEST(EventLog, TimesOfADeviceComeLateAndNoEventOfBeforeGetsThem) {
  FlightRecord record;
  const auto before = record.open(What::kForward, On::kCompute, 1);
  const auto log = record.start_log();
  const auto late = record.open(What::kReduce, On::kCommunication, 2);
  EXPECT_EQ(log->at(0), nullptr) << "it has not begun";
  for (std::size_t i = 0; i < FlightRecord::kEvents; ++i)
    add(record, What::kGather, On::kCommunication, {5, 6});
  record.begin(before, 1);
  record.end(before, 2);
  record.begin(late, 3);
  EXPECT_EQ(log->at(0)->end, 0) << "still goes on";
  record.end(late, 4);
  EXPECT_EQ(log->at(0)->begin, 3);
  EXPECT_EQ(log->at(0)->end, 4);
  EXPECT_EQ(log->at(0)->unit, 2);
}

TEST(EventLog, SaysHowManyEventsHadNoPlace) {
  FlightRecord record;
  const auto log = record.start_log();
  for (std::int64_t i = 0; i < EventLog::kMost + 3; ++i)
    add(record, What::kGather, On::kCommunication, {1 + i, 2 + i});
  EXPECT_EQ(log->size(), EventLog::kMost);
  EXPECT_EQ(log->lost(), 3);
  EXPECT_EQ(log->at(EventLog::kMost - 1)->begin, EventLog::kMost);
}

TEST(EventLog, TakesNoMemoryThatTheLedgerCounts) {
  const auto before = th::runtime::MemoryLedger::process().current().total();
  FlightRecord record;
  const auto log = record.start_log();
  for (std::int64_t i = 0; i < 10 * EventLog::kBlock; ++i)
    add(record, What::kGather, On::kCommunication, {1 + i, 2 + i});
  EXPECT_EQ(th::runtime::MemoryLedger::process().current().total(), before);
}

TEST(EventLog, TakesEventsOfTwoThreads) {
  constexpr std::int64_t kEach = 3 * EventLog::kBlock;
  FlightRecord record;
  const auto log = record.start_log();
  const auto write = [&](On on) {
    for (std::int64_t i = 0; i < kEach; ++i) add(record, What::kReduce, on, {1 + i, 2 + i}, i);
  };
  std::thread other(write, On::kCommunication);
  write(On::kCompute);
  other.join();
  ASSERT_EQ(log->size(), 2 * kEach);
  std::int64_t next_of[2] = {0, 0};
  for (std::int64_t i = 0; i < log->size(); ++i) {
    ASSERT_NE(log->at(i), nullptr);
    EXPECT_EQ(log->at(i)->unit, next_of[log->at(i)->on == On::kCompute ? 0 : 1]++)
        << "in the order of each thread";
  }
}

/// Of events on compute and on communication: begin, end.
BusyTime busy(const std::vector<std::pair<std::int64_t, std::int64_t>>& compute,
              const std::vector<std::pair<std::int64_t, std::int64_t>>& communication) {
  FlightRecord record;
  const auto log = record.start_log();
  for (const auto& [begin, end] : compute) add(record, What::kBackward, On::kCompute, {begin, end});
  for (const auto& [begin, end] : communication)
    add(record, What::kReduce, On::kCommunication, {begin, end});
  add(record, What::kFetch, On::kCopies, {1, 1000});  // neither
  add(record, What::kStep, On::kHost, {1, 1000});
  return th::runtime::busy_time(*log);
}

TEST(BusyTime, IsTheTimeOfBothKindsAndWhatTheyHaveInCommon) {
  const BusyTime some =
      busy({{10, 20}, {30, 50}, {60, 70}}, {{5, 12}, {18, 35}, {36, 40}, {65, 90}, {95, 99}});
  EXPECT_EQ(some.compute, 40);
  EXPECT_EQ(some.communication, 57);
  EXPECT_EQ(some.overlapped, 2 + (2 + 5) + 4 + 5);
  const BusyTime none = busy({{10, 20}, {30, 40}}, {{20, 30}, {40, 50}});
  EXPECT_EQ(none.overlapped, 0);
  EXPECT_EQ(none.communication, 20);
  const BusyTime one = busy({{10, 20}}, {});
  EXPECT_EQ(one.compute, 10);
  EXPECT_EQ(one.communication + one.overlapped, 0);
  EXPECT_EQ(busy({}, {{10, 20}, {30, 31}}).communication, 11);
}

TEST(BusyTime, WaitsBetweenEventsThatAnotherEnclosesAreNoCompute) {
  const BusyTime time = busy({{10, 100}, {20, 40}, {60, 80}}, {{45, 55}, {70, 75}});
  EXPECT_EQ(time.compute, 10 + 20 + 20);
  EXPECT_EQ(time.overlapped, 5);
}

}  // namespace
