#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "th/monitor/trace.hpp"

namespace {

using nlohmann::json;
using th::monitor::TraceWriter;
using Record = th::runtime::FlightRecord;

/// The texts that a sink took, joined; none is larger than a piece.
struct Text {
  std::string all;
  TraceWriter::Sink sink = [this](std::string_view text) {
    EXPECT_LE(text.size(), 8192U);
    all += text;
  };
};

Record::Event event(Record::What what, Record::On on, std::int64_t begin, std::int64_t end,
                    std::int32_t unit = Record::kNone, std::int32_t slot = Record::kNone) {
  return {what, on, unit, begin, end, slot, 7};
}

TEST(Trace, EventsHaveTheirRankStreamTimesAndArguments) {
  Text text;
  TraceWriter writer(text.sink,
                     {{"source_embedding", 0, 0, 0}, {"encoder.layers.0", 400, 800, 100}},
                     1'000'000'000'000);
  writer.rank(3, "rank 3 on node1 (cuda:0 GPU)");
  writer.event(event(Record::What::kStep, Record::On::kHost, 1'000'000'000'000, 1'000'000'123'456));
  writer.event(event(Record::What::kGather, Record::On::kCommunication, 1'000'000'000'001,
                     1'000'000'002'000, 1));
  writer.event(event(Record::What::kForward, Record::On::kCompute, 1'000'000'003'050,
                     1'000'000'004'000, 1, 5));
  writer.event(event(Record::What::kReduce, Record::On::kCommunication, 1'000'000'005'000,
                     1'000'000'005'000, 0, 5));
  writer.finish({{"steps", "step 7"}});
  const json trace = json::parse(text.all);
  std::vector<json> events, metadata;
  for (const json& one : trace["traceEvents"])
    (one["ph"] == "X" ? events : metadata).push_back(one);
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0],
            json::parse(
                R"({"name":"step 7","cat":"step","ph":"X","ts":0.0,"dur":123.456,"pid":3,"tid":4,
              "args":{"step":7}})"));
  EXPECT_EQ(events[1],
            json::parse(
                R"({"name":"gather encoder.layers.0","cat":"gather","ph":"X","ts":0.001,"dur":1.999,
              "pid":3,"tid":1,"args":{"step":7,"unit":"encoder.layers.0","bytes":400}})"));
  EXPECT_EQ(events[2],
            json::parse(
                R"({"name":"forward encoder.layers.0","cat":"forward","ph":"X","ts":3.05,"dur":0.95,
              "pid":3,"tid":0,"args":{"step":7,"slot":5,"unit":"encoder.layers.0"}})"));
  EXPECT_EQ(events[3]["args"], json::parse(R"({"step":7,"slot":5,"unit":"source_embedding"})"))
      << "bytes are not known";
  EXPECT_EQ(events[3]["dur"], 0.0);
  std::vector<std::string> names;
  for (const json& one : metadata) {
    if (one["args"].contains("name"))
      names.push_back(one["name"].get<std::string>() + ": " +
                      one["args"]["name"].get<std::string>());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"process_name: rank 3 on node1 (cuda:0 GPU)",
                                             "thread_name: host", "thread_name: communication",
                                             "thread_name: compute"}))
      << "a thread is named once";
  EXPECT_EQ(trace["otherData"], json::parse(R"({"steps":"step 7"})"));
}

TEST(Trace, EachRankIsAProcessWithThreadsOfItsOwn) {
  Text text;
  TraceWriter writer(text.sink, {}, 0);
  for (const int rank : {0, 1}) {
    writer.rank(rank, "rank " + std::to_string(rank));
    writer.event(event(Record::What::kSlot, Record::On::kHost, 10, 20, Record::kNone, 2));
  }
  writer.finish({});
  const json trace = json::parse(text.all);
  std::vector<int> threads, slots;
  for (const json& one : trace["traceEvents"]) {
    if (one["name"] == "thread_name") threads.push_back(one["pid"].get<int>());
    if (one["name"] == "slot 2") slots.push_back(one["pid"].get<int>());
  }
  EXPECT_EQ(threads, (std::vector<int>{0, 1}));
  EXPECT_EQ(slots, (std::vector<int>{0, 1}));
}

TEST(Trace, NamesMayHoldAnyCharacter) {
  const std::string strange = "a\"b\\c\n\t/\x01 caf\xc3\xa9", torn = "torn \xc3";
  Text text;
  TraceWriter writer(text.sink, {{strange, 0, 0, 0}}, 0);
  writer.rank(0, torn);
  writer.event(event(Record::What::kBackward, Record::On::kCompute, 1, 2, 0));
  writer.finish({{strange, strange}});
  const json trace = json::parse(text.all);
  EXPECT_EQ(trace["traceEvents"].back()["args"]["unit"], strange);
  EXPECT_EQ(trace["traceEvents"].back()["name"], "backward " + strange);
  EXPECT_EQ(trace["otherData"][strange], strange);
}

TEST(Trace, AnEmptyOneAndALongOneAreJson) {
  Text empty;
  TraceWriter(empty.sink, {}, 0).finish({});
  EXPECT_TRUE(json::parse(empty.all)["traceEvents"].empty());
  Text text;
  TraceWriter writer(text.sink, {{"unit", 1, 1, 1}}, 0);
  writer.rank(0, "rank 0");
  for (std::int64_t i = 0; i < 1000; ++i)
    writer.event(event(Record::What::kGather, Record::On::kCommunication, i, i + 1, 0));
  writer.finish({});
  EXPECT_EQ(json::parse(text.all)["traceEvents"].size(), 1000U + 4U);
}

}  // namespace
