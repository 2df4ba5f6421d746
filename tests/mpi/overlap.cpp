// Communication beside compute: what the flight record's times show, of a thread and of the streams
// of a device; the rule of one thread at a time, and errors of the thread.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <thread>
#include <utility>

#include "fakes/fake_device.hpp"
#include "fakes/fake_transport.hpp"
#include "mpi_test.hpp"
#include "small_run.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/runtime/transport/watched_collectives.hpp"
#include "th/zero/engine/engine.hpp"

namespace {

using th::runtime::FlightRecord;
using What = FlightRecord::What;
using On = FlightRecord::On;

th::config::RunConfig make_config(std::int64_t stage) {
  th::config::RunConfig c;
  c.model.d_model = 64;
  c.model.num_heads = 4;
  c.model.num_encoder_layers = c.model.num_decoder_layers = 3;
  c.model.d_ff = 128;
  c.zero.stage = stage;
  c.comm.overlap = th::config::Overlap::kOn;
  return c;
}

/// Long sentences, so that a layer computes for far longer than its parameters take to come.
th::data::Batch make_batch() {
  constexpr std::int64_t kSentences = 8, kLength = 64;
  th::data::Batch b;
  b.sentences = kSentences;
  b.source_length = b.target_length = kLength;
  for (std::int64_t i = 0; i < kSentences * kLength; ++i)
    b.source.push_back(4 +
                       static_cast<std::int64_t>(th::mix64(static_cast<std::uint64_t>(i)) % 30));
  b.target_in = b.target_out = b.source;
  b.source_lengths.assign(kSentences, kLength);
  b.target_lengths = b.source_lengths;
  b.source_tokens = b.target_tokens = kSentences * kLength;
  return b;
}

/// Collectives with something that comes before each exchange.
class Altered final : public th::runtime::Collectives {
 public:
  Altered(th::runtime::Collectives& inner, std::function<void()> before_exchange)
      : inner_(inner), before_exchange_(std::move(before_exchange)) {}
  [[nodiscard]] th::runtime::ControlCalls& control() const noexcept override {
    return inner_.control();
  }
  [[nodiscard]] std::unique_ptr<th::runtime::TransportBuffer> allocate(std::int64_t n) override {
    return inner_.allocate(n);
  }
  [[nodiscard]] std::vector<th::runtime::Contribution> exchange(
      th::runtime::TransportBuffer& b, const th::runtime::RankParts& parts,
      const th::runtime::SubtreeSum* sum) override {
    before_exchange_();
    return inner_.exchange(b, parts, sum);
  }
  void finish_exchange() override { inner_.finish_exchange(); }
  void all_gather(th::runtime::TransportBuffer& b, const th::runtime::RankParts& parts,
                  std::byte* full, th::runtime::TransportBuffer* within) override {
    inner_.all_gather(b, parts, full, within);
  }
  void all_reduce_fast(float* d, std::int64_t n) override { inner_.all_reduce_fast(d, n); }
  void barrier() override { inner_.barrier(); }
  [[nodiscard]] th::runtime::ByteCounters bytes_sent() const noexcept override {
    return inner_.bytes_sent();
  }
  [[nodiscard]] th::runtime::NodeMap nodes() const override { return inner_.nodes(); }
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override {
    return inner_.communication_bytes();
  }
  [[nodiscard]] std::string description() const override { return inner_.description(); }

 private:
  th::runtime::Collectives& inner_;
  std::function<void()> before_exchange_;
};

enum class Passes { kSteps, kValidation };

/// Takes steps, or validates, until `seen` holds of the flight record, thirty times at most.
bool within_thirty(Passes passes, std::int64_t stage, th::runtime::Collectives& collectives,
                   const std::function<bool(const std::vector<FlightRecord::Event>&)>& seen) {
  const th::config::RunConfig config = make_config(stage);
  th::model::Transformer model({config.model, 34, 34, 64}, th::model::GemmLibrary::kMkl);
  const std::int64_t slots = 2 * collectives.size();
  th::zero::ZeroEngine engine(config, model, collectives, slots);
  const th::data::Batch batch = make_batch();
  bool found = false;
  for (std::int64_t step = 1; step <= 30 && !found; ++step) {
    passes == Passes::kSteps ? engine.begin_step()
                             : engine.units().begin_evaluation(engine.rounds());
    for (std::int64_t round = 0; round < engine.rounds(); ++round) {
      if (passes == Passes::kSteps)
        engine.accumulate(model, &batch, static_cast<std::uint64_t>(step), 1e-3, 0.1);
      else
        (void)model.evaluate(engine.units(), batch);
    }
    if (passes == Passes::kSteps) (void)engine.step({1e-3, step});
    found = collectives.control().maximum(seen(engine.flight_record()->events()) ? 0 : 1) == 0;
  }
  return found;
}

/// An event on the communication stream of which at least half lies in one on compute, of another
/// unit.
bool overlaps(const std::vector<FlightRecord::Event>& events, What inner, What outer) {
  const auto covered = [&](const FlightRecord::Event& in, const FlightRecord::Event& out) {
    const std::int64_t common = std::min(in.end, out.end) - std::max(in.begin, out.begin);
    return out.what == outer && out.on == On::kCompute && out.unit != in.unit &&
           2 * common >= in.end - in.begin;
  };
  return std::any_of(events.begin(), events.end(), [&](const FlightRecord::Event& in) {
    return in.what == inner && in.on == On::kCommunication && in.end > in.begin &&
           std::any_of(events.begin(), events.end(),
                       [&](const FlightRecord::Event& out) { return covered(in, out); });
  });
}

/// A gather that begins and ends while compute is in one unit, another one.
bool gathers_inside(const std::vector<FlightRecord::Event>& events) {
  return std::any_of(events.begin(), events.end(), [&](const FlightRecord::Event& in) {
    return in.what == What::kGather && in.on == On::kCommunication &&
           std::any_of(events.begin(), events.end(), [&](const FlightRecord::Event& out) {
             return (out.what == What::kForward || out.what == What::kBackward) &&
                    out.unit != in.unit && in.within(out);
           });
  });
}

TEST(Overlap, AGatherRunsInsideAComputeIntervalAndAReductionInsideABackwardInterval) {
  const auto inner = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  // A transport that takes its time: where the threads share a core, only one that waits leaves the
  // core to compute.
  Altered collectives(*inner, [] { std::this_thread::sleep_for(std::chrono::microseconds(300)); });
  EXPECT_TRUE(within_thirty(Passes::kSteps, 3, collectives, gathers_inside));
  EXPECT_TRUE(within_thirty(Passes::kValidation, 3, collectives, gathers_inside));
  for (const std::int64_t stage : {0, 1, 2, 3}) {
    EXPECT_TRUE(within_thirty(
        Passes::kSteps, stage, collectives,
        [](const auto& events) { return overlaps(events, What::kReduce, What::kBackward); }))
        << "stage " << stage;
  }
}

/// The record of two steps on a device with memory of its own, by its pretended times.
std::vector<FlightRecord::Event> on_device(std::int64_t stage, th::config::Overlap overlap,
                                           bool offload) {
  const auto host = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  th::config::RunConfig config = SmallRun::make_config(32, stage);
  // Alike, one after the other.
  config.model.num_encoder_layers = config.model.num_decoder_layers = 3;
  config.comm.overlap = overlap;
  config.zero.offload_optimizer = offload;
  config.zero.offload_parameters = offload && stage == 3;
  th_test::FakeDevice device(th_test::FakeDevice::Pace::kLatest);
  th_test::FakeTransport transport(*host, device);
  SmallRun run(config, transport, &device);
  for (std::int64_t step = 1; step <= 2; ++step) {
    run.train(step, [&](const auto& accumulate) {
      const th_test::FakeDevice::Kernel model(device);
      accumulate();
    });
  }
  return run.engine.flight_record()->events();
}

/// An event that has time in common with one of another stream and unit: pretended times have no
/// chance in them.
bool beside(const std::vector<FlightRecord::Event>& events, What what, What other) {
  return std::any_of(events.begin(), events.end(), [&](const FlightRecord::Event& one) {
    return one.what == what &&
           std::any_of(events.begin(), events.end(), [&](const FlightRecord::Event& two) {
             return two.what == other && two.on != one.on && two.unit != one.unit &&
                    two.begin < one.end && one.begin < two.end;
           });
  });
}

TEST(Overlap, OnADeviceReductionsGathersAndCopiesGoOnBesideComputeAlsoWithOffload) {
  for (const bool offload : {false, true}) {
    for (const std::int64_t stage : {0, 1, 2, 3}) {
      const auto events = on_device(stage, th::config::Overlap::kOn, offload);
      EXPECT_TRUE(beside(events, What::kReduce, What::kBackward))
          << "stage " << stage << ", offload " << offload;
      if (stage != 3) continue;
      for (const What compute : {What::kForward, What::kBackward}) {
        EXPECT_TRUE(beside(events, What::kGather, compute)) << "offload " << offload;
        EXPECT_EQ(beside(events, What::kFetch, compute), offload);
      }
      EXPECT_EQ(beside(events, What::kFetch, What::kGather), offload);
    }
  }
}

TEST(Overlap, OnADeviceNothingOverlapsWhereItIsOff) {
  for (const std::int64_t stage : {0, 3}) {
    const auto events = on_device(stage, th::config::Overlap::kOff, true);
    for (const What compute : {What::kForward, What::kBackward}) {
      for (const What other : {What::kReduce, What::kGather, What::kFetch})
        EXPECT_FALSE(beside(events, other, compute)) << "stage " << stage;
    }
  }
}

/// An engine after one step of one slot a rank.
struct OneStep {
  OneStep(const th::config::RunConfig& config, th::runtime::Collectives& collectives)
      : model({config.model, 34, 34, 64}, th::model::GemmLibrary::kMkl),
        engine(config, model, collectives, collectives.size()) {
    const th::data::Batch batch = make_batch();
    engine.begin_step();
    engine.accumulate(model, &batch, 1, 1e-3, 0.1);
    (void)engine.step({1e-3, 1});
  }
  th::model::Transformer model;
  th::zero::ZeroEngine engine;
};

TEST(Overlap, NothingOverlapsWithoutAThread) {
  const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  th::config::RunConfig config = make_config(3);
  config.comm.overlap = th::config::Overlap::kOff;
  const OneStep run(config, *collectives);
  EXPECT_FALSE(gathers_inside(run.engine.flight_record()->events()));
  EXPECT_FALSE(overlaps(run.engine.flight_record()->events(), What::kReduce, What::kBackward));
}

TEST(Overlap, EveryKindOfEventIsInTheRecordOfAStep) {
  const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  const OneStep run(make_config(3), *collectives);
  const auto units = std::ssize(run.model.units());
  const auto count = [&](What what, On on) {
    const auto events = run.engine.flight_record()->events();
    return std::count_if(events.begin(), events.end(), [&](const auto& e) {
      return e.what == what && e.on == on && e.begin <= e.end;
    });
  };
  EXPECT_EQ(count(What::kForward, On::kCompute), units - 1)
      << "the output's forward pass is part of its backward pass";
  EXPECT_EQ(count(What::kBackward, On::kCompute), units);
  EXPECT_EQ(count(What::kGather, On::kCommunication), 2 * units - 1);
  EXPECT_EQ(count(What::kReduce, On::kCommunication), units);
  EXPECT_EQ(count(What::kUpdate, On::kCompute), units);
}

TEST(Order, ACollectiveBesidePendingOnesIsRefused) {
  const auto raw = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  th::runtime::Watchdog watchdog({});
  const auto collectives = th::runtime::make_watched_collectives(*raw, watchdog);
  const auto communication = th::runtime::make_thread_stream();
  collectives->follow(communication.get());
  std::promise<void> go;
  std::int64_t largest = 0;
  communication->enqueue("held", [&] { go.get_future().wait(); }, {});
  communication->enqueue(
      "maximum", [&] { largest = collectives->control().maximum(collectives->rank()); }, {});
  EXPECT_THROW((void)collectives->control().maximum(0), th::InternalError);
  EXPECT_THROW(collectives->barrier(), th::InternalError);
  go.set_value();
  communication->drain();
  EXPECT_EQ(largest, collectives->size() - 1);
  EXPECT_EQ(collectives->control().maximum(5), 5) << "after a drain";
  collectives->follow(nullptr);
}

TEST(Failure, AnErrorOfTheCommunicationThreadEndsTheStepOnTheMainThread) {
  const auto inner = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  for (const std::int64_t stage : {0, 2, 3}) {
    for (const int broken : {0, 3, 7}) {
      int exchanges = 0;
      Altered collectives(*inner, [&exchanges, broken] {
        if (exchanges++ == broken) throw th::MpiError("MPI_Alltoall failed: a peer is gone");
      });
      const th::config::RunConfig config = make_config(stage);
      th::model::Transformer model({config.model, 34, 34, 64}, th::model::GemmLibrary::kMkl);
      th::zero::ZeroEngine engine(config, model, collectives, collectives.size());
      const th::data::Batch batch = make_batch();
      const auto step = [&] {
        engine.begin_step();
        engine.accumulate(model, &batch, 1, 1e-3, 0.1);
        (void)engine.step({1e-3, 1});
      };
      EXPECT_THROW(step(), th::MpiError) << "stage " << stage << ", exchange " << broken;
      EXPECT_THROW(step(), th::MpiError) << "a stream that broke stays broken";
    }
    inner->barrier();
  }
}

TEST(Failure, AStepThatIsGivenUpLeavesNoCollectiveBehind) {
  // As on a stop between rounds: the engine goes while reductions and gathers are under way, and
  // every rank has made them all.
  const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  for (const std::int64_t stage : {0, 1, 2, 3}) {
    const th::config::RunConfig config = make_config(stage);
    th::model::Transformer model({config.model, 34, 34, 64}, th::model::GemmLibrary::kMkl);
    const th::data::Batch batch = make_batch();
    {
      th::zero::ZeroEngine engine(config, model, *collectives, 2 * collectives->size());
      engine.begin_step();
      engine.accumulate(model, &batch, 1, 1e-3, 0.1);
    }
    EXPECT_EQ(collectives->control().maximum(collectives->rank()), collectives->size() - 1)
        << "stage " << stage;
  }
}

}  // namespace

TH_MPI_TEST_MAIN
