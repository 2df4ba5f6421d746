#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "th/runtime/observe/flight_record.hpp"

namespace {

using th::runtime::FlightRecord;
using What = FlightRecord::What;
using On = FlightRecord::On;

TEST(FlightRecord, HoldsEventsInTheOrderOfTheirTimes) {
  FlightRecord record;
  const auto outer = record.open(What::kBackward, On::kCompute, 3),
             inner = record.open(What::kReduce, On::kCommunication, 4);
  const auto first = record.open(What::kFetch, On::kCopies, 5);
  EXPECT_TRUE(record.events().empty()) << "none has begun";
  record.begin(outer, 20);  // times of a device come in any order
  record.begin(inner, 30);
  record.begin(first, 10);
  record.end(inner, 40);
  record.end(outer, 50);
  const std::vector<FlightRecord::Event> events = record.events();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].on, On::kCopies);
  EXPECT_EQ(events[1].what, What::kBackward);
  EXPECT_EQ(events[1].unit, 3);
  EXPECT_EQ(events[2].on, On::kCommunication);
  EXPECT_TRUE(events[2].within(events[1]));
  EXPECT_FALSE(events[1].within(events[2]));
}

TEST(FlightRecord, ScopesTakeTheTimesOfTheirStream) {
  const auto record = std::make_shared<FlightRecord>();
  th::runtime::InlineStream stream;
  const std::int64_t before = th::runtime::monotonic_ns();
  { const FlightRecord::Scope scope(record, stream, What::kUpdate, On::kCompute, 1); }
  const std::int64_t after = th::runtime::monotonic_ns();
  ASSERT_EQ(record->events().size(), 1U);
  const FlightRecord::Event e = record->events()[0];
  EXPECT_LE(before, e.begin);
  EXPECT_LE(e.begin, e.end);
  EXPECT_LE(e.end, after);
}

TEST(FlightRecord, KeepsTheLastOnesAndLeavesALostEventAlone) {
  FlightRecord record;
  const auto lost = record.open(What::kForward, On::kCompute, 0);
  for (std::size_t i = 0; i < FlightRecord::kEvents; ++i)
    record.begin(record.open(What::kGather, On::kCommunication, static_cast<std::int64_t>(i)), 100);
  record.begin(lost, 1);
  record.end(lost, 2);
  const std::vector<FlightRecord::Event> events = record.events();
  ASSERT_EQ(events.size(), FlightRecord::kEvents);
  EXPECT_EQ(events.front().unit, 0);
  EXPECT_EQ(events.back().unit, static_cast<std::int32_t>(FlightRecord::kEvents - 1));
  for (const auto& e : events) EXPECT_EQ(e.end, 0) << "still goes on";
}

TEST(FlightRecord, IsOneJsonObjectALineWithTheUnitsNames) {
  FlightRecord record;
  const auto update = record.open(What::kUpdate, On::kCompute, 1);
  record.begin(update, 10);
  record.end(update, 20);
  record.begin(record.open(What::kGather, On::kCommunication, 0), 15);
  const std::vector<std::string> names{"source_embedding", "output"};
  EXPECT_EQ(record.text(names),
            R"({"what":"update","unit":"output","on":"compute","begin_ns":10,"end_ns":20})"
            "\n"
            R"({"what":"gather","unit":"source_embedding","on":"communication",)"
            R"("begin_ns":15,"end_ns":null})"
            "\n");
}

TEST(FlightRecord, WhatTheHostDoesHasNoUnit) {
  FlightRecord record;
  const std::int64_t before = th::runtime::monotonic_ns();
  { const FlightRecord::HostScope scope(record, What::kOptimizer); }
  const FlightRecord::Event e = record.events().at(0);
  EXPECT_LE(before, e.begin);
  EXPECT_LE(e.begin, e.end);
  EXPECT_EQ(record.text({}), R"({"what":"optimizer","on":"host","begin_ns":)" +
                                 std::to_string(e.begin) + R"(,"end_ns":)" + std::to_string(e.end) +
                                 "}\n");
}

TEST(FlightRecord, AnEventThatIsRestartedBeginsThen) {
  const auto record = std::make_shared<FlightRecord>();
  th::runtime::InlineStream stream;
  const auto event = FlightRecord::begin(record, stream, What::kForward, On::kCompute, 1);
  const std::int64_t between = th::runtime::monotonic_ns();
  FlightRecord::restart(record, stream, event);
  FlightRecord::end(record, stream, event);
  ASSERT_EQ(record->events().size(), 1U);
  EXPECT_GE(record->events()[0].begin, between);
  EXPECT_GE(record->events()[0].end, record->events()[0].begin);
}

TEST(FlightRecord, TakesEventsOfTwoThreads) {
  const auto record = std::make_shared<FlightRecord>();
  const auto write = [&](On on) {
    th::runtime::InlineStream stream;
    for (int i = 0; i < 150; ++i)
      const FlightRecord::Scope scope(record, stream, What::kReduce, on, i);
  };
  std::thread other(write, On::kCommunication);
  write(On::kCompute);
  other.join();
  int compute = 0;
  for (const auto& e : record->events()) {
    compute += e.on == On::kCompute ? 1 : 0;
    EXPECT_LE(e.begin, e.end);
  }
  EXPECT_EQ(compute, 150);
  EXPECT_EQ(record->events().size(), 300U);
}

}  // namespace
