// The engine's events order every access: no read before its write, no write over what may still be read, whatever moment the
// communication's tasks run at. Every event that is left out is found.
#include <gtest/gtest.h>

#include "fake_streams.hpp"
#include "mpi_test.hpp"
#include "small_run.hpp"
#include "th/runtime/mpi_collectives.hpp"

namespace {

using th::config::GradientCheckpointing;
using th::config::Overlap;
using th::config::Precision;
using th::config::ReduceDtype;
using th::config::Reduction;
using th::config::RunConfig;
using th_test::FakeStreams;

struct Variant {
  std::string name;
  RunConfig config;
};

/// Stages 0 to 3; at stage 3 units gathered 0 to 3 ahead, some or all kept; tied embeddings, recomputation, 16-bit gradients, sums in the
/// backend's order.
std::vector<Variant> variants() {
  std::vector<Variant> out;
  const auto add = [&](const std::string& name, std::int64_t stage, const auto& change) {
    RunConfig config = SmallRun::make_config(32, stage);
    config.comm.overlap = Overlap::kOn;
    change(config);
    out.push_back({"stage " + std::to_string(stage) + ", " + name, config});
  };
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    add("plain", stage, [](RunConfig&) {});
    add("tied, recompute", stage, [](RunConfig& c) {
      c.model.num_decoder_layers = 2;
      c.model.tie_embeddings = true;
      c.model.gradient_checkpointing = GradientCheckpointing::kSqrt;
    });
    add("bf16, reduced in 16 bits", stage, [](RunConfig& c) {
      c.precision.dtype = Precision::kBf16;
      c.precision.reduce_dtype = ReduceDtype::kWorking;
    });
    add("fast", stage, [](RunConfig& c) { c.comm.reduction = Reduction::kFast; });
  }
  for (const std::int64_t ahead : {0, 2, 3}) {
    add(std::to_string(ahead) + " ahead", 3, [&](RunConfig& c) { c.zero.prefetch_units = ahead; });
  }
  add("small units kept", 3, [](RunConfig& c) { c.zero.persistence_threshold = 2000; });
  add("all units kept", 3, [](RunConfig& c) { c.zero.persistence_threshold = 1 << 20; });
  return out;
}

struct Result {
  std::vector<float> state;
  std::vector<double> losses;
  friend bool operator==(const Result&, const Result&) = default;
};

Result two_steps(const RunConfig& config, th::runtime::Streams streams) {
  const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  SmallRun run(config, *collectives, std::move(streams));
  Result result;
  for (std::int64_t step = 1; step <= 2; ++step) result.losses.push_back(run.train(step));
  result.state = run.state();
  return result;
}

int rank() {
  int r = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &r);
  return r;
}

TEST(EventOrder, TasksThatRunAsLateAsTheyMayFindWhatTheyNeed) {
  for (const Variant& v : variants()) {
    FakeStreams streams(FakeStreams::Pace::kLatest);
    const Result late = two_steps(v.config, streams.make());
    EXPECT_EQ(streams.violations(), std::vector<std::string>{}) << v.name;
    EXPECT_GT(streams.delayed(), 0) << v.name;
    EXPECT_GT(streams.accesses(), 50) << v.name;
    if (v.config.comm.reduction == Reduction::kFast) continue;
    EXPECT_TRUE(late == two_steps(v.config, th::runtime::inline_streams())) << v.name << ": other bits";
  }
}

TEST(EventOrder, TasksThatRunAtAnyMomentFindWhatTheyNeed) {
  for (const Variant& v : variants()) {
    if (v.config.comm.reduction == Reduction::kFast) continue;
    const Result at_once = two_steps(v.config, th::runtime::inline_streams());
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      FakeStreams streams(FakeStreams::Pace::kChance, th::hash_pair(seed, static_cast<std::uint64_t>(rank())));
      EXPECT_TRUE(at_once == two_steps(v.config, streams.make())) << v.name << ", seed " << seed << ": other bits";
      EXPECT_EQ(streams.violations(), std::vector<std::string>{}) << v.name << ", seed " << seed;
    }
  }
}

TEST(EventOrder, EveryWaitThatIsLeftOutIsFound) {
  for (const Variant& v : variants()) {
    FakeStreams whole(FakeStreams::Pace::kLatest);
    (void)two_steps(v.config, whole.make());
    ASSERT_GT(whole.waits(), 4) << v.name;
    for (std::int64_t number = 0; number < whole.waits(); ++number) {
      FakeStreams streams(FakeStreams::Pace::kLatest);
      streams.leave_out(number, FakeStreams::Drop::kGuaranteeAlone);
      (void)two_steps(v.config, streams.make());
      EXPECT_FALSE(streams.violations().empty()) << v.name << ": wait " << number << " of " << whole.waits() << " guarantees nothing";
    }
  }
}

TEST(EventOrder, AWaitThatIsReallyLeftOutGivesOtherBits) {
  // A gather that compute does not wait for: it reads what the place held before. The first one that compute waits for is among the first
  // waits.
  const RunConfig config = variants()[12].config;
  ASSERT_EQ(config.zero.stage, 3);
  const Result right = two_steps(config, th::runtime::inline_streams());
  int other_bits = 0;
  for (std::int64_t number = 0; number < 6; ++number) {
    FakeStreams streams(FakeStreams::Pace::kLatest);
    streams.leave_out(number, FakeStreams::Drop::kReally);
    const Result wrong = two_steps(config, streams.make());
    EXPECT_FALSE(streams.violations().empty()) << "wait " << number;
    other_bits += wrong == right ? 0 : 1;
  }
  EXPECT_GT(other_bits, 0);
}

TEST(FakeStreams, FindAReadBeforeItsWriteAndAWriteOverAPendingReader) {
  const float buffer[8] = {};
  FakeStreams streams(FakeStreams::Pace::kLatest);
  const th::runtime::Streams s = streams.make();
  const auto copies = streams.add();  // a third stream, as that of offload's copies
  s.communication->enqueue("gather", [] {}, {th::runtime::writes(buffer, 16)});
  s.compute->touch("use", {th::runtime::reads(buffer + 4, 16)});
  EXPECT_TRUE(streams.violations().empty()) << "other bytes";
  s.compute->touch("use", {th::runtime::reads(buffer + 3, 4)});
  EXPECT_EQ(streams.violations(), std::vector<std::string>{"use reads what gather writes, with no event between them"});
  copies->wait(s.communication->record());
  copies->enqueue("copy", [] {}, {th::runtime::reads(buffer, 16)});
  EXPECT_EQ(streams.violations().size(), 1U) << "ordered by its event";
  s.compute->wait(s.communication->record());
  s.compute->touch("use", {th::runtime::reads(buffer, 16)});
  EXPECT_EQ(streams.violations().size(), 1U) << "two readers";
  s.communication->wait(s.compute->record());
  s.communication->enqueue("gather", [] {}, {th::runtime::writes(buffer, 16)});
  ASSERT_EQ(streams.violations().size(), 2U);
  EXPECT_EQ(streams.violations().back(), "gather writes what copy reads, with no event between them");
}

}  // namespace

TH_MPI_TEST_MAIN
