#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "th/runtime/flight_record.hpp"

namespace {

using th::runtime::FlightRecord;
using What = FlightRecord::What;
using On = FlightRecord::On;

TEST(FlightRecord, HoldsEventsInTheOrderOfTheirBeginning) {
  FlightRecord record;
  const auto outer = record.begin(What::kBackward, On::kCompute, 3);
  { const FlightRecord::Scope inner(record, What::kReduce, On::kCommunication, 4); }
  record.end(outer);
  const std::vector<FlightRecord::Event> events = record.events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].what, What::kBackward);
  EXPECT_EQ(events[0].unit, 3);
  EXPECT_EQ(events[1].on, On::kCommunication);
  EXPECT_TRUE(events[1].within(events[0]));
  EXPECT_FALSE(events[0].within(events[1]));
}

TEST(FlightRecord, KeepsTheLastOnesAndLeavesALostEventAlone) {
  FlightRecord record;
  const auto lost = record.begin(What::kForward, On::kCompute, 0);
  for (std::size_t i = 0; i < FlightRecord::kEvents; ++i)
    (void)record.begin(What::kGather, On::kCommunication, static_cast<std::int64_t>(i));
  record.end(lost);
  const std::vector<FlightRecord::Event> events = record.events();
  ASSERT_EQ(events.size(), FlightRecord::kEvents);
  EXPECT_EQ(events.front().unit, 0);
  EXPECT_EQ(events.back().unit, static_cast<std::int32_t>(FlightRecord::kEvents - 1));
  for (const auto& e : events) EXPECT_EQ(e.end, 0) << "still goes on";
}

TEST(FlightRecord, IsOneJsonObjectALineWithTheUnitsNames) {
  FlightRecord record;
  record.end(record.begin(What::kUpdate, On::kCompute, 1));
  (void)record.begin(What::kGather, On::kCommunication, 0);
  const std::vector<FlightRecord::Event> e = record.events();
  const std::vector<std::string> names{"source_embedding", "output"};
  EXPECT_EQ(record.text(names), R"({"what":"update","unit":"output","on":"compute","begin_ns":)" + std::to_string(e[0].begin) +
                                    ",\"end_ns\":" + std::to_string(e[0].end) + "}\n" +
                                    R"({"what":"gather","unit":"source_embedding","on":"communication","begin_ns":)" +
                                    std::to_string(e[1].begin) + ",\"end_ns\":null}\n");
}

TEST(FlightRecord, TakesEventsOfTwoThreads) {
  FlightRecord record;
  const auto write = [&](On on) {
    for (int i = 0; i < 150; ++i) const FlightRecord::Scope scope(record, What::kReduce, on, i);
  };
  std::thread other(write, On::kCommunication);
  write(On::kCompute);
  other.join();
  int compute = 0;
  for (const auto& e : record.events()) {
    compute += e.on == On::kCompute ? 1 : 0;
    EXPECT_LE(e.begin, e.end);
  }
  EXPECT_EQ(compute, 150);
  EXPECT_EQ(record.events().size(), 300U);
}

}  // namespace
