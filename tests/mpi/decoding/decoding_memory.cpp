// What decoding in lock step takes is planned: the engine's classes to the byte, without a copy of
// the parameters, and no more than a step of training.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "measured_memory.hpp"
#include "mpi_test.hpp"
#include "th/model/memory/torch_memory.hpp"
#include "th/train/sharded_decoding.hpp"
#include "th/zero/sharded_source.hpp"

namespace {

using th::config::Precision;
using th::config::Sharded;
using th::config::Tying;
using th::runtime::MemoryScope;
using th::zero::MemoryPlan;
using namespace th_test;

constexpr std::int64_t kDecoded = 20;
constexpr double kTolerance = 0.05;  // of activations, as for training
constexpr Size kSize{64, 2, 8, 24};
constexpr MemoryClass kEngine[] = {MemoryClass::kParameters,    MemoryClass::kMaster,
                                   MemoryClass::kGradients,     MemoryClass::kGatherSlots,
                                   MemoryClass::kCommunication, MemoryClass::kOffloadStaging};

struct Case {
  Tying tying;
  Precision dtype;
  std::int64_t beam;
};
constexpr Case kCases[] = {{Tying::kNone, Precision::kFp32, 1},
                           {Tying::kAll, Precision::kFp32, 4},
                           {Tying::kDecoder, Precision::kBf16, 4}};

th::config::RunConfig make_config(const Case& c, Sharded sharded) {
  th::config::RunConfig config = th_test::make_config(3, GradientCheckpointing::kNone, kSize);
  config.model.tie_embeddings = c.tying;
  config.precision.dtype = c.dtype;
  config.decode.beam = c.beam;
  config.decode.sharded = sharded;
  return config;
}

th::zero::PlanRequest request_of(const th::config::RunConfig& config) {
  th::zero::PlanRequest request = plan_request(config, kSize, false);
  request.decoding = {th::data::BatchShape::uniform(kSize.sentences, kSize.length, kDecoded)};
  request.decodes = true;
  return request;
}

const MemoryPlan::Phase& phase_of(const MemoryPlan& plan, const std::string& name) {
  return *std::find_if(plan.phases.begin(), plan.phases.end(),
                       [&](const MemoryPlan::Phase& phase) { return phase.name == name; });
}

/// One node, and of one case all ways to lay ranks onto nodes.
std::vector<std::vector<int>> placements(const Case& c) {
  if (c.tying == Tying::kAll) return node_placements(ranks());
  return {std::vector<int>(static_cast<std::size_t>(ranks()), 0)};
}

/// What the engine holds after a step of training, and with it the peak of a batch that is decoded
/// in lock step, on rank 0 by going along.
struct Measured {
  MemoryUse held, peak;
};
Measured measure_decoding(const th::config::RunConfig& config, const std::vector<int>& nodes) {
  const auto collectives =
      th::runtime::make_mpi_collectives(MPI_COMM_WORLD, TransportChoice::kBest, nodes);
  const th::data::Batch batch = make_batch(kSize);
  MemoryLedger::process().restart();
  const MemoryScope scope(MemoryClass::kActivations);
  th::model::Transformer model(
      {config.model, kVocabulary, kVocabulary, kLongest}, th::model::resolve_gemm(config.run.gemm),
      th::model::Arithmetic::kCompute, th::model::host_compute(config.run));
  th::zero::ZeroEngine engine(config, model, *collectives, slots_of_a_step());
  engine.begin_step();  // buffers of what crosses nodes come with it
  for (std::int64_t round = 0; round < engine.rounds(); ++round) {
    const bool mine = round * collectives->size() + collectives->rank() < slots_of_a_step();
    engine.accumulate(model, mine ? &batch : nullptr, 7, 0.01, 0.1);
  }
  (void)engine.step({1e-3, 1});
  Measured out{MemoryLedger::process().current(), {}};
  MemoryLedger::process().restart();  // counts from here on
  const auto source = engine.decoding_source(model);
  th::model::SearchOptions options;
  options.beam = config.decode.beam;
  options.max_length = kDecoded;
  const bool mine = collectives->rank() > 0 || collectives->size() == 1;
  th::train::LockStep together(model, *source, *collectives, options, {});
  EXPECT_TRUE(together.translate(mine ? &batch : nullptr).has_value());
  out.peak = MemoryLedger::process().at_peak();
  for (std::size_t k = 0; k < out.peak.bytes.size(); ++k) out.peak.bytes[k] += out.held.bytes[k];
  return out;
}

class DecodingMemory : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "the address sanitizer keeps its own operator new";
#endif
    th::model::observe_torch_memory();
  }
};

TEST_F(DecodingMemory, LockStepTakesWhatIsPlannedAndNoMoreThanTraining) {
  for (const Case& c : kCases) {
    for (const std::vector<int>& nodes : placements(c)) {
      const th::config::RunConfig config = make_config(c, Sharded::kOn);
      th::zero::PlanRequest request = request_of(config);
      request.nodes = th::runtime::NodeMap(nodes);
      MPI_Comm_rank(MPI_COMM_WORLD, &request.rank);
      const MemoryPlan plan = th::zero::plan_memory(request);
      const MemoryUse planned = phase_of(plan, "decoding").use,
                      training = phase_of(plan, "training").use;
      const Measured measured = measure_decoding(config, nodes);
      const std::string where =
          "beam " + std::to_string(c.beam) + ", nodes " + testing::PrintToString(nodes);
      for (const MemoryClass kind : kEngine) {
        const std::string name = th::runtime::memory_class_name(kind);
        EXPECT_EQ(planned[kind], measured.peak[kind]) << where << ": " << name;
        EXPECT_EQ(planned[kind], training[kind]) << where << ": " << name;
        EXPECT_EQ(measured.held[kind], measured.peak[kind])
            << where << ": decoding takes more of " << name;
      }
      const bool mine = request.rank > 0 || ranks() == 1;
      const auto activations = static_cast<double>(measured.peak[MemoryClass::kActivations]) /
                               static_cast<double>(planned[MemoryClass::kActivations]);
      if (mine) {
        EXPECT_NEAR(activations, 1.0, kTolerance) << where;
      } else {
        EXPECT_LT(activations, 1.0) << where;
      }
      EXPECT_LE(measured.peak.total(), training.total()) << where;
      EXPECT_EQ(plan.peak().name, "training") << where;
    }
  }
}

TEST_F(DecodingMemory, AllParametersOnEveryRankAreAPeakOfTheirOwn) {
  for (const Case& c : kCases) {
    const MemoryPlan whole = th::zero::plan_memory(request_of(make_config(c, Sharded::kOff))),
                     open = th::zero::plan_memory(request_of(make_config(c, Sharded::kAuto))),
                     sharded = th::zero::plan_memory(request_of(make_config(c, Sharded::kOn)));
    const auto slots = [](const MemoryPlan& plan) {
      return phase_of(plan, "decoding").use[MemoryClass::kGatherSlots];
    };
    const th::model::Transformer model(
        {make_config(c, Sharded::kOn).model, kVocabulary, kVocabulary, 1},
        th::model::GemmLibrary::kMkl, th::model::Arithmetic::kShapesOnly);
    EXPECT_EQ(slots(whole) - slots(sharded), th::zero::FlatLayout(model.units(), 1).padded_total() *
                                                 th::zero::element_bytes(c.dtype));
    EXPECT_EQ(open.peak().use.total(), whole.peak().use.total()) << "auto counts as off";
  }
}

/// Long translations of short sentences: keys and values outweigh what training takes.
TEST_F(DecodingMemory, SoManySentencesAreDecodedTogetherAsTrainingHasRoomFor) {
  for (const Case& c : kCases) {
    th::zero::PlanRequest request = request_of(make_config(c, Sharded::kOn));
    EXPECT_EQ(th::zero::sentences_in_lock_step(request), kSize.sentences);
    request.longest = 4000;
    request.decoding = {th::data::BatchShape::uniform(kSize.sentences, kSize.length, 2000)};
    EXPECT_EQ(th::zero::plan_memory(request).peak().name, "decoding");
    request.decoded_together = th::zero::sentences_in_lock_step(request);
    EXPECT_LT(request.decoded_together, kSize.sentences);
    EXPECT_GE(request.decoded_together, 1);
    const MemoryPlan plan = th::zero::plan_memory(request);
    if (request.decoded_together > 1) {
      EXPECT_EQ(plan.peak().name, "training");
    }
    request.training.clear();
    EXPECT_EQ(th::zero::sentences_in_lock_step(request), kSize.sentences);
  }
  const auto parts = th::zero::parts_of({{{3, 4, 5, 6, 7}, {1, 1, 1, 1, 1}}}, 2);
  ASSERT_FALSE(parts.empty());
  for (const auto& part : parts) EXPECT_LE(part.sentences(), 2);
}

TEST_F(DecodingMemory, AnEngineOfParametersAloneTakesItsShards) {
  for (const Case& c : kCases) {
    for (const std::vector<int>& nodes : placements(c)) {
      const auto collectives =
          th::runtime::make_mpi_collectives(MPI_COMM_WORLD, TransportChoice::kBest, nodes);
      const th::config::RunConfig config = make_config(c, Sharded::kOn);
      const th::model::Transformer model({config.model, kVocabulary, kVocabulary, kLongest},
                                         th::model::resolve_gemm(config.run.gemm));
      MemoryLedger::process().restart();
      const MemoryUse before = MemoryLedger::process().current();
      const th::zero::ShardedSource source(config, model, *collectives);
      const MemoryUse after = MemoryLedger::process().current();
      const auto grown = [&](MemoryClass kind) { return after[kind] - before[kind]; };
      EXPECT_EQ(grown(MemoryClass::kParameters),
                source.layout().shard_total() * th::zero::element_bytes(c.dtype));
      EXPECT_EQ(grown(MemoryClass::kParameters) + grown(MemoryClass::kGatherSlots), source.bytes())
          << testing::PrintToString(nodes);
      if (*std::max_element(nodes.begin(), nodes.end()) == 0) {
        EXPECT_EQ(grown(MemoryClass::kGatherSlots), 0) << "on one node units are read in place";
      }
    }
  }
}

}  // namespace

TH_MPI_TEST_MAIN
