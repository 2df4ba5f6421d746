// The plan is what is measured: peak bytes by the ledger's events against the plan, over stages, kinds of gradient checkpointing and model
// sizes, at every rank count; and what nobody planned shows.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include "mpi_test.hpp"
#include "th/base/hash.hpp"
#include "th/model/torch_memory.hpp"
#include "th/model/transformer.hpp"
#include "th/runtime/memory_ledger.hpp"
#include "th/runtime/mpi_collectives.hpp"
#include "th/zero/engine.hpp"
#include "th/zero/memory_plan.hpp"

namespace {

using th::config::GradientCheckpointing;
using th::runtime::MemoryClass;
using th::runtime::MemoryLedger;
using th::runtime::MemoryUse;
using th::runtime::TransportChoice;

constexpr std::int64_t kVocabulary = 1000, kSlots = 8, kLongest = 64;
constexpr double kTolerance = 0.05;  // of the total, what issue and contract ask for
constexpr GradientCheckpointing kKinds[] = {GradientCheckpointing::kNone, GradientCheckpointing::kSelective, GradientCheckpointing::kFull,
                                            GradientCheckpointing::kSqrt};

struct Size {
  std::int64_t width, layers, sentences, length;
};
constexpr Size kSizes[] = {{64, 2, 16, 24}, {128, 5, 8, 40}};

th::config::RunConfig make_config(std::int64_t stage, GradientCheckpointing kind, const Size& size) {
  th::config::RunConfig c;
  c.model.d_model = size.width;
  c.model.num_heads = 4;
  c.model.num_encoder_layers = c.model.num_decoder_layers = size.layers;
  c.model.d_ff = 4 * size.width;
  c.model.gradient_checkpointing = kind;
  c.zero.stage = stage;
  return c;
}

th::data::Batch make_batch(const Size& size) {
  th::data::Batch b;
  b.sentences = size.sentences;
  b.source_length = b.target_length = size.length;
  for (std::int64_t i = 0; i < size.sentences * size.length; ++i) {
    b.source.push_back(4 + static_cast<std::int64_t>(th::mix64(static_cast<std::uint64_t>(i)) % (kVocabulary - 4)));
  }
  b.target_in = b.target_out = b.source;
  b.source_lengths.assign(static_cast<std::size_t>(size.sentences), static_cast<std::int32_t>(size.length));
  b.target_lengths = b.source_lengths;
  b.source_tokens = b.target_tokens = size.sentences * size.length;
  return b;
}

/// Peak use of one optimizer step, the engine's making included, with `planted` bytes that nobody plans.
MemoryUse measure(const th::config::RunConfig& config, const Size& size, std::int64_t planted, TransportChoice transport) {
  const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD, transport);
  const th::data::Batch batch = make_batch(size);
  MemoryLedger::process().restart();
  const auto table = std::make_unique<th::runtime::MemoryScope>(MemoryClass::kActivations);
  th::model::Transformer model(config.model, kVocabulary, kVocabulary, th::model::resolve_gemm(config.run.gemm), kLongest);
  th::zero::ZeroEngine engine(config, model, *collectives, kSlots);
  const th::runtime::MemoryScope outside(MemoryClass::kUntagged);
  const at::Tensor stowaway = at::empty({planted});
  engine.begin_step();
  for (std::int64_t round = 0; round < engine.rounds(); ++round) {
    const bool mine = round * collectives->size() + collectives->rank() < kSlots;
    engine.accumulate(model, mine ? &batch : nullptr, 7, 0.01, 0.1);
  }
  (void)engine.step(1e-3, 1);
  return MemoryLedger::process().at_peak();
}

MemoryUse plan(const th::config::RunConfig& config, const Size& size, bool messages) {
  th::zero::PlanRequest request;
  request.config = config;
  request.source_vocabulary = request.target_vocabulary = kVocabulary;
  request.longest = std::max(kLongest, size.length);
  MPI_Comm world = MPI_COMM_WORLD;
  int ranks = 0;
  MPI_Comm_size(world, &ranks);
  request.ranks = ranks;
  request.slots = kSlots;
  request.training = {{size.sentences, size.length, size.length}};
  request.messages = messages;
  return th::zero::plan_memory(request).peak().use;
}

class MemoryPlanTest : public testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "the address sanitizer keeps its own operator new";
#endif
    th::model::observe_torch_memory();
  }
};

TEST_F(MemoryPlanTest, PeakIsWithinFivePercentOfTheLedger) {
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    for (const GradientCheckpointing kind : kKinds) {
      for (const Size& size : kSizes) {
        const th::config::RunConfig config = make_config(stage, kind, size);
        const double planned = static_cast<double>(plan(config, size, false).total());
        const double measured = static_cast<double>(measure(config, size, 0, TransportChoice::kBest).total());
        EXPECT_NEAR(measured / planned, 1.0, kTolerance) << "stage " << stage << " kind " << static_cast<int>(kind) << " width " << size.width;
      }
    }
  }
}

TEST_F(MemoryPlanTest, EveryClassOfTheModelStateIsExact) {
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    const th::config::RunConfig config = make_config(stage, GradientCheckpointing::kNone, kSizes[1]);
    const MemoryUse planned = plan(config, kSizes[1], false);
    const MemoryUse measured = measure(config, kSizes[1], 0, TransportChoice::kBest);
    for (const MemoryClass kind : {MemoryClass::kParameters, MemoryClass::kGradients, MemoryClass::kExpAvg, MemoryClass::kExpAvgSq, MemoryClass::kGatherSlots}) {
      EXPECT_EQ(planned[kind], measured[kind]) << "stage " << stage << " " << th::runtime::memory_class_name(kind);
    }
  }
}

TEST_F(MemoryPlanTest, MessagesTakeAReceiveBufferThatIsPlanned) {
  const th::config::RunConfig config = make_config(2, GradientCheckpointing::kFull, kSizes[0]);
  const double planned = static_cast<double>(plan(config, kSizes[0], true).total());
  const double measured = static_cast<double>(measure(config, kSizes[0], 0, TransportChoice::kMpi).total());
  EXPECT_NEAR(measured / planned, 1.0, kTolerance);
}

TEST_F(MemoryPlanTest, TenUnplannedMegabytesShowAsAPlanError) {
  constexpr std::int64_t kFloats = 10'000'000 / 4;
  const th::config::RunConfig config = make_config(3, GradientCheckpointing::kFull, kSizes[0]);
  const double planned = static_cast<double>(plan(config, kSizes[0], false).total());
  const MemoryUse measured = measure(config, kSizes[0], kFloats, TransportChoice::kBest);
  EXPECT_EQ(measured[MemoryClass::kUntagged], kFloats * 4);
  EXPECT_GT(static_cast<double>(measured.total()) / planned, 1.0 + kTolerance);
}

TEST_F(MemoryPlanTest, PlanningTakesNoMemory) {
  MemoryLedger::process().restart();
  th::config::RunConfig config = make_config(0, GradientCheckpointing::kNone, {1024, 24, 0, 0});
  const MemoryUse use = plan(config, {1024, 24, 256, 512}, false);
  EXPECT_GT(use.total(), std::int64_t{100} << 30);
  EXPECT_LT(MemoryLedger::process().at_peak().total(), std::int64_t{16} << 20);
}

}  // namespace

TH_MPI_TEST_MAIN
