#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
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

TEST(Trace, DataWorkersAndSavesHaveRowsOfTheirOwn) {
  Text text;
  TraceWriter writer(text.sink, {}, 0);
  writer.rank(1, "rank 1");
  for (const std::int32_t worker : {0, 2})
    writer.event(
        event(Record::What::kRead, Record::On::kReading, 10, 20 + worker, Record::kNone, worker));
  writer.event(event(Record::What::kWrite, Record::On::kSaves, 30, 40));
  writer.finish({});
  std::vector<json> events;
  std::vector<std::string> names;
  const json trace = json::parse(text.all);
  for (const json& one : trace["traceEvents"]) {
    if (one["ph"] == "X") events.push_back(one);
    if (one["name"] == "thread_name") names.push_back(one["args"]["name"].get<std::string>());
  }
  EXPECT_EQ(names, (std::vector<std::string>{"data reading", "data reading 3", "saves"}));
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0]["name"], "read step 7");
  EXPECT_EQ(events[0]["args"], json::parse(R"({"step":7,"worker":0})"));
  EXPECT_EQ(events[1]["args"], json::parse(R"({"step":7,"worker":2})"));
  EXPECT_EQ(events[2]["name"], "write step 7");
  EXPECT_NE(events[0]["tid"], events[1]["tid"]);
  EXPECT_NE(events[0]["tid"], events[2]["tid"]);
}

TEST(Trace, MemoryIsACounterOfTheClassesThatHadAny) {
  using th::runtime::MemoryClass;
  using th::runtime::MemorySamples;
  const std::vector<const char*> states{"exp_avg"};
  Text text;
  TraceWriter writer(text.sink, {}, 1000, states);
  MemorySamples::Sample sample{MemorySamples::Of::kHost, 2500, {}};
  for (const int rank : {0, 1}) {
    writer.rank(rank, "rank");
    sample.use = {};
    writer.memory(sample);  // nothing: no counter
    sample.use[MemoryClass::kParameters] = 100;
    sample.use[MemoryClass::kOptimizerState] = 10;
    writer.memory(sample);
    sample.use[MemoryClass::kParameters] = 0;
    sample.use[MemoryClass::kUntagged] = -5;
    writer.memory(sample);
  }
  sample.of = MemorySamples::Of::kDevice;
  sample.use = {};
  sample.use[MemoryClass::kActivations] = 7;
  writer.memory(sample);
  writer.finish({});
  std::vector<json> counters;
  const json trace = json::parse(text.all);
  for (const json& one : trace["traceEvents"])
    if (one["ph"] == "C") counters.push_back(one);
  ASSERT_EQ(counters.size(), 5U);
  EXPECT_EQ(counters[0],
            json::parse(R"({"name":"memory","cat":"memory","ph":"C","ts":1.5,"pid":0,"tid":4,
            "args":{"parameters":100,"exp_avg":10}})"));
  EXPECT_EQ(counters[1]["args"], json::parse(R"({"parameters":0,"exp_avg":10,"untagged":-5})"))
      << "what went is 0, not left out";
  EXPECT_EQ(counters[2]["args"], counters[0]["args"]) << "each rank begins anew";
  EXPECT_EQ(counters[2]["pid"], 1);
  EXPECT_EQ(counters[4]["name"], "memory of the GPU");
  EXPECT_EQ(counters[4]["args"], json::parse(R"({"activations":7})"));
}

TEST(Trace, ArrowsHaveOneIdAndEndInTheEventThatIsThere) {
  using th::monitor::TraceArrow;
  using End = TraceArrow::End;
  Text text;
  TraceWriter writer(text.sink, {}, 0);
  for (const auto& [end, rank] :
       {std::pair{End::kFirst, 2}, std::pair{End::kBetween, 0}, std::pair{End::kLast, 1}})
    writer.arrow({end, 12, rank, Record::What::kReduce, Record::On::kCommunication, 1000 + rank});
  writer.finish({});
  const json trace = json::parse(text.all)["traceEvents"];
  ASSERT_EQ(trace.size(), 3U);
  EXPECT_EQ(trace[0], json::parse(R"({"name":"reduce","cat":"collective","ph":"s","id":12,
            "ts":1.002,"pid":2,"tid":1})"));
  EXPECT_EQ(trace[1], json::parse(R"({"name":"reduce","cat":"collective","ph":"t","id":12,
            "ts":1.0,"pid":0,"tid":1})"));
  EXPECT_EQ(trace[2], json::parse(R"({"name":"reduce","cat":"collective","ph":"f","bp":"e",
            "id":12,"ts":1.001,"pid":1,"tid":1})"));
}

}  // namespace
