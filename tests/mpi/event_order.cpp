// The engine's events order every access: no read before its write, no write over what may still be
// read, whatever moment tasks of communication, copies and a device's compute run at, on the host
// and on a device with memory of its own, with and without offload. Every event that is left out is
// found.
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "fakes/fake_device.hpp"
#include "fakes/fake_transport.hpp"
#include "mpi_test.hpp"
#include "small_run.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"

namespace {

using th::ElementType;
using th::config::GradientCheckpointing;
using th::config::Overlap;
using th::config::ReduceDtype;
using th::config::Reduction;
using th::config::RunConfig;
using th_test::FakeStreams;
using th_test::rank;
using th_test::ranks;

struct Variant {
  std::string name;
  RunConfig config;
  bool own_memory = false;
  /// Each rank is on a pretended node of its own: units are gathered into slots on the host too.
  bool apart = false;
};

/// Whether a gather moves nothing: all shards lie where they are read.
bool in_place(const Variant& v, int ranks) {
  return v.config.zero.stage == 3 && !v.own_memory && (!v.apart || ranks == 1);
}

using Change = std::function<void(RunConfig&)>;

void add(std::vector<Variant>& out, const std::string& name, std::int64_t stage,
         const Change& change, bool own_memory) {
  RunConfig config = SmallRun::make_config(32, stage);
  config.comm.overlap = Overlap::kOn;
  change(config);
  out.push_back({(own_memory ? "device, stage " : "stage ") + std::to_string(stage) + ", " + name,
                 config, own_memory});
}

void tied(RunConfig& c) {
  c.model.num_decoder_layers = 2;
  c.model.tie_embeddings = th::config::Tying::kAll;
  c.model.gradient_checkpointing = GradientCheckpointing::kSqrt;
}

void shorten(RunConfig& c) {
  c.precision.dtype = ElementType::kBf16;
  c.precision.reduce_dtype = ReduceDtype::kWorking;
}

Change ahead(std::int64_t units) {
  return [units](RunConfig& c) { c.zero.prefetch_units = units; };
}

Change kept(std::int64_t parameters) {
  return [parameters](RunConfig& c) { c.zero.persistence_threshold = parameters; };
}

/// Stages 0 to 3; at stage 3 units gathered 0 to 3 ahead, some or all kept; tied embeddings,
/// recomputation, 16-bit gradients, sums in the backend's order, micro-batches in blocks.
void add_stages(std::vector<Variant>& out, bool own_memory) {
  const Change fast = [](RunConfig& c) { c.comm.reduction = Reduction::kFast; };
  const Change blocks = [](RunConfig& c) { c.comm.dealing = th::config::Dealing::kBlocks; };
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    add(
        out, "plain", stage, [](RunConfig&) {}, own_memory);
    add(out, "tied, recompute", stage, tied, own_memory);
    add(out, "bf16, reduced in 16 bits", stage, shorten, own_memory);
    add(out, "fast", stage, fast, own_memory);
    if (stage % 2 == 0) add(out, "blocks", stage, blocks, own_memory);
  }
  for (const std::int64_t units : {0, 2, 3})
    add(out, std::to_string(units) + " ahead", 3, ahead(units), own_memory);
  add(out, "small units kept", 3, kept(2000), own_memory);
  add(out, "all units kept", 3, kept(1 << 20), own_memory);
}

/// All kinds of offload, on a device.
void add_offload(std::vector<Variant>& out) {
  const Change offload_optimizer = [](RunConfig& c) { c.zero.offload_optimizer = true; };
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    add(out, "offloaded optimizer", stage, offload_optimizer, true);
    add(
        out, "offloaded optimizer, bf16", stage,
        [&](RunConfig& c) { shorten(c), offload_optimizer(c); }, true);
  }
  for (const bool optimizer : {false, true}) {
    const std::string name =
        optimizer ? "offloaded optimizer and parameters" : "offloaded parameters";
    const Change offload = [=](RunConfig& c) {
      c.zero.offload_parameters = true, c.zero.offload_optimizer = optimizer;
    };
    add(out, name, 3, offload, true);
    add(
        out, name + ", 2 ahead, tied, bf16", 3,
        [&](RunConfig& c) { offload(c), tied(c), shorten(c), ahead(2)(c); }, true);
    add(
        out, name + ", small units kept", 3, [&](RunConfig& c) { offload(c), kept(2000)(c); },
        true);
  }
}

std::vector<Variant> variants() {
  std::vector<Variant> out;
  for (const bool own_memory : {false, true}) add_stages(out, own_memory);
  // On several nodes stage 3 gathers into slots, and the other stages have one copy a node.
  for (const Variant& v : std::vector<Variant>(out)) {
    if (v.own_memory) continue;
    out.push_back(v);
    out.back().name += ", ranks apart";
    out.back().apart = true;
  }
  add_offload(out);
  return out;
}

struct Result {
  std::vector<float> state;
  std::vector<double> losses;
  friend bool operator==(const Result&, const Result&) = default;
};

std::unique_ptr<th::runtime::Collectives> make_collectives(const Variant& v) {
  int ranks = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  std::vector<int> nodes;
  for (int r = 0; r < ranks && v.apart; ++r) nodes.push_back(r);
  return th::runtime::make_mpi_collectives(MPI_COMM_WORLD, th::runtime::TransportChoice::kBest,
                                           nodes);
}

/// Without fakes: on the host, one thing after the other.
Result at_once(RunConfig config) {
  config.comm.overlap = Overlap::kOff;
  const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  SmallRun run(config, *collectives);
  Result result;
  const auto now = [](const auto& compute) { compute(); };
  result.losses.push_back(run.train(1));
  result.losses.push_back(run.evaluate(2, now));
  result.losses.push_back(run.train(2));
  result.state = run.state();
  return result;
}

/// What a run over fake streams gave, and what its streams saw.
struct Checked {
  Result result;
  std::unique_ptr<th_test::AccessOrder> order;
  std::int64_t
      first_wait = 0,
      last_wait = 0;  ///< waits of the two steps, without those of the start and of the steps after
  std::int64_t delayed = 0;
};

/// Two steps with a validation between them, and a third one for what the ends of the first ones
/// left behind.
Checked two_steps(const Variant& v, FakeStreams::Pace pace, std::uint64_t seed = 0,
                  std::optional<std::int64_t> left_out = {}) {
  const auto host = make_collectives(v);
  Checked out;
  const auto train = [&](FakeStreams& streams, th::runtime::Collectives& collectives,
                         th::runtime::Device& device) {
    SmallRun run(v.config, collectives, &device);
    out.first_wait = streams.order().waits();
    if (left_out) streams.leave_out(out.first_wait + *left_out);
    const auto passes = [&](const auto& compute) {
      const FakeStreams::Kernel model(streams);
      compute();
    };
    out.result.losses.push_back(run.train(1, passes));
    out.result.losses.push_back(run.evaluate(2, passes));
    out.result.losses.push_back(run.train(2, passes));
    out.last_wait = streams.order().waits();
    out.result.state = run.state();
    (void)run.train(3, passes);
    out.order = std::make_unique<th_test::AccessOrder>(streams.order());
    out.delayed = streams.delayed();
  };
  if (v.own_memory) {
    th_test::FakeDevice device(pace, seed);
    th_test::FakeTransport transport(*host, device);
    train(device.streams(), transport, device);
  } else {
    th_test::CheckedHost device(pace, seed);
    train(device.streams(), *host, device);
  }
  return out;
}

TEST(EventOrder, TasksThatRunAsLateAsTheyMayFindWhatTheyNeed) {
  for (const Variant& v : variants()) {
    const Checked late = two_steps(v, FakeStreams::Pace::kLatest);
    EXPECT_EQ(late.order->violations(), std::vector<std::string>{}) << v.name;
    EXPECT_GT(late.delayed, 0) << v.name;
    EXPECT_GT(late.order->accesses(), 50) << v.name;
    if (v.config.comm.reduction == Reduction::kFast) continue;
    EXPECT_TRUE(late.result == at_once(v.config)) << v.name << ": other bits";
  }
}

TEST(EventOrder, TasksThatRunAtAnyMomentFindWhatTheyNeed) {
  for (const Variant& v : variants()) {
    if (v.config.comm.reduction == Reduction::kFast) continue;
    const Result expected = at_once(v.config);
    const Checked early = two_steps(v, FakeStreams::Pace::kCopiesEarly);
    EXPECT_TRUE(expected == early.result) << v.name << ", early: other bits";
    EXPECT_EQ(early.order->violations(), std::vector<std::string>{}) << v.name << ", early";
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const Checked run = two_steps(v, FakeStreams::Pace::kChance,
                                    th::hash_pair(seed, static_cast<std::uint64_t>(rank())));
      EXPECT_TRUE(expected == run.result) << v.name << ", seed " << seed << ": other bits";
      EXPECT_EQ(run.order->violations(), std::vector<std::string>{}) << v.name << ", seed " << seed;
    }
  }
}

TEST(EventOrder, EveryWaitThatIsLeftOutIsFound) {
  for (const Variant& v : variants()) {
    const Checked run = two_steps(v, FakeStreams::Pace::kLatest);
    ASSERT_GT(run.last_wait - run.first_wait, 4) << v.name;
    for (std::int64_t number = run.first_wait; number < run.last_wait; ++number) {
      EXPECT_FALSE(run.order->violations_without(number).empty())
          << v.name << ": wait " << number - run.first_wait << " of "
          << run.last_wait - run.first_wait
          << " guarantees nothing: " << run.order->wait_text(number);
    }
  }
}

TEST(EventOrder, AWaitThatIsReallyLeftOutGivesOtherBits) {
  // A gather that compute does not wait for: it reads what the place held before. The first one
  // that compute waits for is among the first waits.
  for (const Variant& v : variants()) {
    if (v.config.zero.stage != 3 || v.name.find("plain") == std::string::npos ||
        in_place(v, ranks()))
      continue;
    const Result right = at_once(v.config);
    int other_bits = 0;
    for (std::int64_t number = 0; number < 6; ++number) {
      const Checked wrong = two_steps(v, FakeStreams::Pace::kLatest, 0, number);
      EXPECT_FALSE(wrong.order->violations().empty()) << v.name << ", wait " << number;
      other_bits += wrong.result == right ? 0 : 1;
    }
    EXPECT_GT(other_bits, 0) << v.name;
  }
}

TEST(FakeStreams, FindAReadBeforeItsWriteAndAWriteOverAPendingReader) {
  const float buffer[8] = {};
  FakeStreams streams(FakeStreams::Pace::kLatest);
  th::runtime::Stream& compute = streams.compute();
  const auto communication = streams.add(), copies = streams.add();
  communication->enqueue("gather", [] {}, {th::runtime::writes(buffer, 16)});
  compute.touch("use", {th::runtime::reads(buffer + 4, 16)});
  EXPECT_TRUE(streams.violations().empty()) << "other bytes";
  compute.touch("use", {th::runtime::reads(buffer + 3, 4)});
  EXPECT_EQ(streams.violations(),
            std::vector<std::string>{"use reads what gather writes, with no event between them"});
  copies->wait(communication->record());
  copies->enqueue("copy", [] {}, {th::runtime::reads(buffer, 16)});
  EXPECT_EQ(streams.violations().size(), 1U) << "ordered by its event";
  compute.wait(communication->record());
  compute.touch("use", {th::runtime::reads(buffer, 16)});
  EXPECT_EQ(streams.violations().size(), 1U) << "two readers";
  communication->wait(compute.record());
  communication->enqueue("gather", [] {}, {th::runtime::writes(buffer, 16)});
  ASSERT_EQ(streams.violations().size(), 2U);
  EXPECT_EQ(streams.violations().back(),
            "gather writes what copy reads, with no event between them");
}

TEST(FakeStreams, OfADeviceFindWhatTheHostDoesTooEarly) {
  const float buffer[8] = {};
  FakeStreams streams(FakeStreams::Pace::kLatest, 0, FakeStreams::Compute::kDeferred);
  const auto copies = streams.add();
  copies->enqueue("fetch", [] {}, {th::runtime::writes(buffer, 16)});
  const th::runtime::Event fetched = copies->record();
  streams.host().touch("use", {th::runtime::reads(buffer, 16)});
  EXPECT_EQ(streams.violations(),
            std::vector<std::string>{"use reads what fetch writes, with no event between them"});
  streams.host().wait(fetched);
  streams.host().touch("use", {th::runtime::writes(buffer, 16)});
  EXPECT_EQ(streams.violations().size(), 1U);
  streams.compute().enqueue("use", [] {}, {th::runtime::reads(buffer, 16)});
  EXPECT_EQ(streams.violations().size(), 1U)
      << "what the host has done is there for what it enqueues";
}

}  // namespace

TH_MPI_TEST_MAIN
