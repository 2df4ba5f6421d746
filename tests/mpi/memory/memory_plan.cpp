// The plan is what is measured: peak bytes by the ledger's events against the plan, over stages,
// kinds of gradient checkpointing and model sizes, at every rank count; and what nobody planned
// shows.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "measured_memory.hpp"
#include "mpi_test.hpp"
#include "th/base/error.hpp"
#include "th/model/decoding/decoding.hpp"
#include "th/runtime/memory/resource_usage.hpp"

namespace {

using namespace th_test;

constexpr double kTolerance = 0.05;  // of the total, what issue and contract ask for
constexpr GradientCheckpointing kKinds[] = {
    GradientCheckpointing::kNone, GradientCheckpointing::kSelective, GradientCheckpointing::kFull,
    GradientCheckpointing::kSqrt};

using MemoryPlanTest = OnTheLedger<testing::Test>;

TEST_F(MemoryPlanTest, GrowthOfTheProcessIsWithinTenPercentOfTheLedger) {
  // The first test of its process, because it looks at the process: anonymous memory and own
  // windows. A small batch warms the libraries up.
  const Size size{256, 4, 16, 32};
  // One stage alone: what a process has given back to its heap is not asked for again.
  for (const std::int64_t stage : {2}) {
    const th::config::RunConfig config = make_config(stage, GradientCheckpointing::kNone, size);
    (void)measure(config, {256, 4, 2, 8}, 0, TransportChoice::kBest);
    const th::model::Transformer shapes({config.model, kVocabulary, kVocabulary, 1},
                                        th::model::GemmLibrary::kMkl);
    const th::zero::FlatLayout layout(shapes.units(), ranks());
    const th::zero::EngineBuffers b =
        th::zero::engine_buffers(config, layout, th::zero::unit_use(shapes), slots_of_a_step());
    // Windows of one rank alone are ordinary memory.
    const std::int64_t windows =
        ranks() == 1 ? 0
                     : 4 * (b.parameters + (b.unit_gradients > 0 ? b.unit_gradients : b.gradients));
    std::int64_t before = th::runtime::rss_anon_bytes(), after = 0;
    const MemoryUse use = measure(config, size, 0, TransportChoice::kBest,
                                  [&] { after = th::runtime::rss_anon_bytes(); });
    // What the first, smaller batch touched of the arena is touched already.
    const double grown = static_cast<double>(after - before + windows);
    EXPECT_NEAR(grown / static_cast<double>(use.total()), 1.0, 0.10)
        << "stage " << stage << ", ledger " << use.total() << " bytes";
  }
}

TEST_F(MemoryPlanTest, PeakIsWithinFivePercentOfTheLedger) {
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    for (const GradientCheckpointing kind : kKinds) {
      for (const Size& size : kSizes) {
        const th::config::RunConfig config = make_config(stage, kind, size);
        const double planned = static_cast<double>(plan(config, size, false).total());
        const double measured =
            static_cast<double>(measure(config, size, 0, TransportChoice::kBest).total());
        EXPECT_NEAR(measured / planned, 1.0, kTolerance)
            << "stage " << stage << " kind " << static_cast<int>(kind) << " width " << size.width;
      }
    }
  }
}

TEST_F(MemoryPlanTest, PeakOfShortTypesIsWithinFivePercentOfTheLedger) {
  for (const th::ElementType dtype : {th::ElementType::kBf16, th::ElementType::kFp16}) {
    for (const th::config::ReduceDtype reduced :
         {th::config::ReduceDtype::kFp32, th::config::ReduceDtype::kWorking}) {
      for (std::int64_t stage = 0; stage <= 3; ++stage) {
        th::config::RunConfig config = make_config(
            stage, stage % 2 == 0 ? GradientCheckpointing::kNone : GradientCheckpointing::kFull,
            kDeep);
        config.precision.dtype = dtype;
        config.precision.reduce_dtype = reduced;
        const double planned = static_cast<double>(plan(config, kDeep, false).total());
        const double measured =
            static_cast<double>(measure(config, kDeep, 0, TransportChoice::kBest).total());
        EXPECT_NEAR(measured / planned, 1.0, kTolerance)
            << "stage " << stage << ", dtype " << static_cast<int>(dtype) << ", reduced "
            << static_cast<int>(reduced);
      }
    }
  }
}

TEST_F(MemoryPlanTest, SentencesOfUnlikeLengthsArePlannedAsTheyAre) {
  th::data::Batch batch;  // of three groups
  for (std::int32_t b = 0; b < 41; ++b) {
    const std::vector<std::int32_t> source(static_cast<std::size_t>(1 + b * 7 % 23), 5),
        target(static_cast<std::size_t>(2 + b * 5 % 19), 6);
    batch.append(source, target);
  }
  for (const GradientCheckpointing kind :
       {GradientCheckpointing::kNone, GradientCheckpointing::kSelective,
        GradientCheckpointing::kSqrt}) {
    const Size size{64, 4, 1, 4};
    const th::config::RunConfig config = make_config(1, kind, size);
    th::zero::PlanRequest request = plan_request(config, size, false);
    request.training = {{batch.source_lengths, batch.target_lengths}};
    const auto planned = static_cast<double>(th::zero::plan_memory(request).peak().use.total());
    const auto measured =
        static_cast<double>(measure(config, batch, 0, TransportChoice::kBest).total());
    EXPECT_NEAR(measured / planned, 1.0, 0.005) << static_cast<int>(kind);
  }
}

TEST_F(MemoryPlanTest, PeakOfDecodingIsWithinFivePercentOfTheLedger) {
  const Size size{64, 2, 16, 24};
  constexpr std::int64_t kDecoded = 60;
  const th::data::Batch batch = make_batch(size);
  for (const std::int64_t beam : {1, 4}) {
    for (const std::int64_t stage : {0, 3}) {
      for (const th::ElementType dtype : {th::ElementType::kFp32, th::ElementType::kBf16}) {
        th::config::RunConfig config =
            make_config(stage, GradientCheckpointing::kFull, {64, 2, 1, 4});
        config.precision.dtype = dtype;
        config.decode.beam = beam;
        th::zero::PlanRequest request = plan_request(config, {64, 2, 1, 4}, false);
        request.decoding = {th::data::BatchShape::uniform(size.sentences, size.length, kDecoded)};
        const th::zero::MemoryPlan planned = th::zero::plan_memory(request);
        ASSERT_EQ(planned.peak().name, "decoding");
        // Without the engine's own step: gather and search, as the trainer does at a run's end.
        const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
        MemoryLedger::process().restart();
        const th::runtime::MemoryScope scope(MemoryClass::kActivations);
        const th::model::Transformer model({config.model, kVocabulary, kVocabulary, kLongest},
                                           th::model::resolve_gemm(config.run.gemm));
        th::zero::ZeroEngine engine(config, model, *collectives, slots_of_a_step());
        const auto source = engine.units().gather_all(model);
        const auto outputs = th::model::translate(model, *source, batch, {beam, 1.0, kDecoded, 1});
        ASSERT_EQ(std::ssize(outputs), size.sentences);
        EXPECT_NEAR(static_cast<double>(MemoryLedger::process().at_peak().total()) /
                        static_cast<double>(planned.peak().use.total()),
                    1.0, kTolerance)
            << "beam " << beam << " stage " << stage << " dtype " << static_cast<int>(dtype);
      }
    }
  }
}

TEST_F(MemoryPlanTest, EveryClassOfTheModelStateIsExact) {
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    const th::config::RunConfig config =
        make_config(stage, GradientCheckpointing::kNone, kSizes[1]);
    const MemoryUse planned = plan(config, kSizes[1], false);
    const MemoryUse measured = measure(config, kSizes[1], 0, TransportChoice::kBest);
    for (const MemoryClass kind :
         {MemoryClass::kParameters, MemoryClass::kGradients, th::runtime::optimizer_state_class(0),
          th::runtime::optimizer_state_class(1), MemoryClass::kGatherSlots}) {
      EXPECT_EQ(planned[kind], measured[kind])
          << "stage " << stage << " " << th::runtime::memory_class_name(kind);
    }
  }
}

TEST_F(MemoryPlanTest, WithLittleSharedMemoryNothingIsOnceANodeAndThatIsPlanned) {
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    const th::config::RunConfig config =
        make_config(stage, GradientCheckpointing::kNone, kSizes[1]);
    // Windows are refused, so all goes by messages.
    th::zero::PlanRequest request = plan_request(config, kSizes[1], true);
    request.shared_room = 0;
    const th::zero::MemoryPlan planned = th::zero::plan_memory(request);
    EXPECT_EQ(planned.once_a_node, 0);
    ASSERT_EQ(setenv("TH_FAKE_SHARED_ROOM", "0", 1), 0);
    const MemoryUse measured = measure(config, kSizes[1], 0, TransportChoice::kBest);
    ASSERT_EQ(unsetenv("TH_FAKE_SHARED_ROOM"), 0);
    if (ranks() == 1) continue;  // windows of one rank take no shared memory
    for (const MemoryClass kind :
         {MemoryClass::kParameters, MemoryClass::kGradients, th::runtime::optimizer_state_class(0),
          th::runtime::optimizer_state_class(1), MemoryClass::kGatherSlots}) {
      EXPECT_EQ(planned.peak().use[kind], measured[kind])
          << "stage " << stage << " " << th::runtime::memory_class_name(kind);
    }
  }
}

TEST_F(MemoryPlanTest, MessagesTakeAReceiveBufferThatIsPlanned) {
  const th::config::RunConfig config = make_config(2, GradientCheckpointing::kFull, kSizes[0]);
  const double planned = static_cast<double>(plan(config, kSizes[0], true).total());
  const double measured =
      static_cast<double>(measure(config, kSizes[0], 0, TransportChoice::kMpi).total());
  EXPECT_NEAR(measured / planned, 1.0, kTolerance);
}

TEST_F(MemoryPlanTest, WhatCrossesNodesIsReceivedIntoBuffersThatArePlannedToTheByte) {
  for (const std::vector<int>& nodes : node_placements(ranks())) {
    for (const std::int64_t stage : {0, 2, 3})
      expect_communication_as_planned(make_config(stage, GradientCheckpointing::kFull, kSizes[0]),
                                      nodes);
  }
}

TEST_F(MemoryPlanTest, WhatAnAuditTakesIsPlannedToTheByte) {
  for (const std::vector<int>& nodes : node_placements(ranks())) {
    for (std::int64_t stage = 0; stage <= 3; ++stage) {
      th::config::RunConfig config = make_config(stage, GradientCheckpointing::kFull, kSizes[0]);
      const auto use_of = [&](std::int64_t audit_steps, MemoryUse& at_end) {
        config.run.audit_steps = audit_steps;
        return measure(
            config, kSizes[0], 0, TransportChoice::kBest,
            [&] { at_end = MemoryLedger::process().current(); }, nodes);
      };
      MemoryUse plain_end, audited_end;
      (void)use_of(0, plain_end);
      const MemoryUse audited = use_of(1, audited_end);
      th::zero::PlanRequest request = plan_request(config, kSizes[0], false);
      request.nodes = th::runtime::NodeMap(nodes);
      MPI_Comm_rank(MPI_COMM_WORLD, &request.rank);
      const th::zero::MemoryPlan plan_of_run = th::zero::plan_memory(request);
      const MemoryUse& planned = plan_of_run.phases.front().use;
      const th::zero::FlatLayout layout = layout_of(config);
      const auto where = "stage " + std::to_string(stage) + testing::PrintToString(nodes);
      const std::int64_t sent = planned[MemoryClass::kCommunication] - record_bytes(layout);
      const std::int64_t seen = audited_end[MemoryClass::kCommunication];
      // Between nodes a step whose round of sums is audited has none.
      EXPECT_TRUE(request.nodes->nodes() > 1 ? sent >= seen : sent == seen)
          << where << ": planned " << sent << ", seen " << seen;
      EXPECT_EQ(audited_end[MemoryClass::kUntagged], plain_end[MemoryClass::kUntagged]) << where;
      const auto peak = static_cast<double>(plan_of_run.peak().use.total());
      EXPECT_NEAR(static_cast<double>(audited.total()) / peak, 1.0, kTolerance) << where;
    }
  }
}

TEST_F(MemoryPlanTest, WhatOverlapTakesIsPlannedToTheByte) {
  const th::config::RunConfig plain = make_config(3, GradientCheckpointing::kFull, kSizes[0]);
  struct Case {
    std::int64_t stage, ahead, kept, live;
    th::config::ReduceDtype reduced;
  };
  constexpr auto kLong = th::config::ReduceDtype::kFp32, kShort = th::config::ReduceDtype::kWorking;
  std::vector<MemoryUse> uses;
  for (const Case& c : {Case{1, 1, 0, 0, kLong}, Case{2, 1, 0, 0, kLong}, Case{2, 1, 0, 0, kShort},
                        Case{3, 0, 0, 0, kLong}, Case{3, 2, 0, 0, kShort},
                        Case{3, 2, 60000, 0, kLong}, Case{3, 5, 0, 250000, kLong}}) {
    th::config::RunConfig config = plain;
    config.zero = {c.stage, false, false, c.ahead, c.kept, c.live};
    config.precision = {th::ElementType::kBf16, c.reduced};
    config.comm.overlap = th::config::Overlap::kOn;
    const th::zero::MemoryPlan phases =
        th::zero::plan_memory(plan_request(config, kSizes[0], false));
    const MemoryUse planned = phases.phases.front().use;  // of the update
    MemoryUse at_end;
    (void)measure(config, kSizes[0], 0, TransportChoice::kBest,
                  [&] { at_end = MemoryLedger::process().current(); });
    const th::zero::FlatLayout layout = layout_of(config);
    const std::string where = "stage " + std::to_string(c.stage) + ", " + std::to_string(c.ahead) +
                              " ahead, kept " + std::to_string(c.kept);
    EXPECT_EQ(planned[MemoryClass::kCommunication] - record_bytes(layout),
              at_end[MemoryClass::kCommunication])
        << where;
    EXPECT_EQ(planned[MemoryClass::kGatherSlots], at_end[MemoryClass::kGatherSlots]) << where;
    EXPECT_EQ(planned[MemoryClass::kGradients], at_end[MemoryClass::kGradients]) << where;
    EXPECT_EQ(at_end[MemoryClass::kUntagged], 0) << where;
    EXPECT_LE(planned[MemoryClass::kGatherSlots],
              c.live > 0 ? c.live * 2 : std::numeric_limits<std::int64_t>::max())
        << where;
    uses.push_back(planned);
  }
  EXPECT_EQ(uses[4][MemoryClass::kGatherSlots], 3 * uses[3][MemoryClass::kGatherSlots])
      << "two units ahead are two more places";
}

TEST_F(MemoryPlanTest, ALiveLimitBelowOneUnitIsADeckErrorWithBothNumbers) {
  th::config::RunConfig config = make_config(3, GradientCheckpointing::kFull, kSizes[0]);
  config.zero.max_live_parameters = 1000;
  try {
    (void)plan(config, kSizes[0], false);
    FAIL() << "accepted";
  } catch (const th::DeckError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("zero.max_live_parameters: 1000 elements"), std::string::npos) << text;
    EXPECT_NE(text.find("gathers "), std::string::npos) << text;
  }
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

/// Measured activations of a stack of `layers` decoder layers at the step's peak, without what
/// stays after it (tables of positions and of the layout).
double stack_activations(GradientCheckpointing kind, std::int64_t layers, const Size& size) {
  th::config::RunConfig config = make_config(0, kind, size);
  config.model.num_encoder_layers = 1;
  config.model.num_decoder_layers = layers;
  std::int64_t stays = 0;
  const MemoryUse use = measure(config, size, 0, TransportChoice::kBest, [&] {
    stays = MemoryLedger::process().current()[MemoryClass::kActivations];
  });
  return static_cast<double>(use[MemoryClass::kActivations] - stays);
}

TEST_F(MemoryPlanTest, ActivationsOfAStackFollowTheLawOfEachKind) {
  // With I the bytes of a layer's input and c what one layer takes: none c + L A, full c + L I,
  // sqrt c + (2 sqrt(L) - 1) I, from where that is more than the loss takes beside the sqrt(L)
  // inputs that are there then.
  constexpr std::int64_t kBase = 4, kSqrtBase = 64;
  const Size size{32, 0, 8, 32};
  const double input = 4.0 * static_cast<double>(size.sentences * size.length * size.width);
  const auto expect_law = [&](GradientCheckpointing kind, double slope, const auto& count,
                              std::int64_t base, std::initializer_list<double> stacks) {
    const double start = stack_activations(kind, base, size);
    for (const double layers : stacks) {
      const double law = start + slope * (count(layers) - count(static_cast<double>(base)));
      EXPECT_NEAR(stack_activations(kind, static_cast<std::int64_t>(layers), size) / law, 1.0,
                  kTolerance)
          << layers << " layers, kind " << static_cast<int>(kind);
    }
  };
  const auto linear = [](double layers) { return layers; };
  for (const GradientCheckpointing kind :
       {GradientCheckpointing::kNone, GradientCheckpointing::kSelective}) {
    expect_law(
        kind,
        (stack_activations(kind, 2 * kBase, size) - stack_activations(kind, kBase, size)) / kBase,
        linear, kBase, {16.0, 36.0, 64.0});
  }
  expect_law(GradientCheckpointing::kFull, input, linear, kBase, {16.0, 36.0, 64.0});
  expect_law(GradientCheckpointing::kSqrt, input,
             [](double layers) { return 2 * std::sqrt(layers) - 1; }, kSqrtBase, {100.0, 144.0});
  // Before that: one input a segment.
  expect_law(GradientCheckpointing::kSqrt, input, [](double layers) { return std::sqrt(layers); },
             kBase, {16.0, 36.0});
}

TEST_F(MemoryPlanTest, SelectiveSavesHalfOfAnUnfusedLayersActivations) {
  // The unfused reference layer in fp32 keeps, for M rows of width D and F = 4 D: two norm inputs
  // and outputs (4 D), q, k, v (3 D), scores after softmax and after dropout (2 P) with its mask
  // (P/4), the attention's result (D), the sum's dropout mask (D/4), the hidden layer after the
  // product's ReLU and after dropout (2 F) with its mask (F/4) and the last dropout's mask (D/4); P
  // = heads * length of keys.
  const Size size{64, 0, 8, 32};
  th::config::RunConfig config = make_config(0, GradientCheckpointing::kSelective, size);
  const auto activations = [&](std::int64_t layers) {
    config.model.num_encoder_layers = layers;
    config.model.num_decoder_layers = 1;
    std::int64_t stays = 0;
    const MemoryUse use = measure(config, size, 0, TransportChoice::kBest, [&] {
      stays = MemoryLedger::process().current()[MemoryClass::kActivations];
    });
    return static_cast<double>(use[MemoryClass::kActivations] - stays);
  };
  const double kept = (activations(16) - activations(8)) / 8;
  const double rows = static_cast<double>(size.sentences * size.length),
               width = static_cast<double>(size.width);
  const double scores = 4.0 * static_cast<double>(size.length);
  const double reference = 4.0 * rows * (8.5 * width + 2.25 * scores + 2.25 * 4 * width);
  EXPECT_LE(kept, 0.5 * reference);
}

}  // namespace

TH_MPI_TEST_MAIN
