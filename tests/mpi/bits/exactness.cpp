// The same bits whatever the rank count, the stage and the recompute kind: one rank computes the
// run by itself, then all of them together, with dropout on.
#include <gtest/gtest.h>

#include <map>
#include <tuple>
#include <type_traits>

#include "exact_run.hpp"
#include "mpi_test.hpp"
#include "th/base/hash.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/model/memory/torch_memory.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/transport/mpi_collectives.hpp"
#include "th/zero/engine/engine.hpp"

namespace {

using th::config::GradientCheckpointing;
using th::config::Reduction;
using th::runtime::TransportChoice;
using th_test::ranks;

using th_test::exact::kSlots;
using th_test::exact::kVocabulary;
using th_test::exact::make_slot;
using th_test::exact::run;
using th_test::exact::Trace;

th::config::RunConfig make_config(std::int64_t stage, GradientCheckpointing recompute, bool tied) {
  th::config::RunConfig c = th_test::exact::small_config(stage);
  c.model.gradient_checkpointing = recompute;
  c.model.tie_embeddings = tied ? th::config::Tying::kAll : th::config::Tying::kNone;
  return c;
}

/// What one rank computes of the model and its types by itself, at stage 0, without recomputation
/// and overlap; made for the first test that asks. Collective.
const Trace& of_one_rank(const th::config::RunConfig& config, std::int64_t slots = kSlots) {
  const auto kind = std::tuple(config.model.tie_embeddings, config.precision.dtype,
                               config.precision.reduce_dtype, slots);
  static std::map<std::remove_const_t<decltype(kind)>, Trace> made;
  const auto found = made.find(kind);
  if (found != made.end()) return found->second;
  th::config::RunConfig plain = make_config(0, GradientCheckpointing::kNone, false);
  plain.model.tie_embeddings = config.model.tie_embeddings;
  plain.precision = config.precision;
  const auto make = [&] { return run(MPI_COMM_SELF, plain, slots); };
  return made.emplace(kind, th_test::made_by_rank_0<Trace>(make)).first->second;
}

class Exactness : public testing::TestWithParam<bool> {};

TEST_P(Exactness, SameBitsAtEveryStageAndRecomputeKindAsOneRank) {
  const Trace& alone = of_one_rank(make_config(0, GradientCheckpointing::kNone, GetParam()));
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    for (const GradientCheckpointing recompute :
         {GradientCheckpointing::kNone, GradientCheckpointing::kSelective,
          GradientCheckpointing::kFull, GradientCheckpointing::kSqrt}) {
      const Trace together = run(MPI_COMM_WORLD, make_config(stage, recompute, GetParam()), kSlots);
      EXPECT_EQ(alone.numbers, together.numbers) << "stage " << stage;
      EXPECT_EQ(alone.parameters, together.parameters) << "stage " << stage;
    }
  }
}

TEST_P(Exactness, MessagesGiveTheSameBitsAsTheWindow) {
  const Trace window =
      run(MPI_COMM_WORLD, make_config(2, GradientCheckpointing::kNone, GetParam()), kSlots);
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    const Trace messages =
        run(MPI_COMM_WORLD, make_config(stage, GradientCheckpointing::kNone, GetParam()), kSlots,
            TransportChoice::kMpi);
    EXPECT_EQ(window.numbers, messages.numbers) << "stage " << stage;
    EXPECT_EQ(window.parameters, messages.parameters) << "stage " << stage;
  }
}

INSTANTIATE_TEST_SUITE_P(Embeddings, Exactness, testing::Values(false, true), [](const auto& p) {
  return p.param ? std::string("tied") : std::string("separate");
});

struct PrecisionCase {
  const char* name;
  th::ElementType dtype;
  th::config::ReduceDtype reduced;
};

class ShortPrecision : public testing::TestWithParam<PrecisionCase> {};

TEST_P(ShortPrecision, SameBitsAtEveryStageAndRecomputeKindAsOneRank) {
  const auto with_precision = [](std::int64_t stage, GradientCheckpointing recompute, bool tied) {
    th::config::RunConfig config = make_config(stage, recompute, tied);
    config.precision.dtype = GetParam().dtype;
    config.precision.reduce_dtype = GetParam().reduced;
    return config;
  };
  for (const bool tied : {false, true}) {
    const Trace& alone = of_one_rank(with_precision(0, GradientCheckpointing::kNone, tied));
    for (std::int64_t stage = 0; stage <= 3; ++stage) {
      for (const GradientCheckpointing recompute :
           {GradientCheckpointing::kNone, GradientCheckpointing::kSqrt}) {
        const TransportChoice transport = recompute == GradientCheckpointing::kNone
                                              ? TransportChoice::kBest
                                              : TransportChoice::kMpi;
        const Trace together =
            run(MPI_COMM_WORLD, with_precision(stage, recompute, tied), kSlots, transport);
        EXPECT_EQ(alone.numbers, together.numbers) << "stage " << stage;
        EXPECT_EQ(alone.parameters, together.parameters) << "stage " << stage;
      }
    }
  }
}

TEST_P(ShortPrecision, TrainsAlikeToSinglePrecision) {
  // bf16 keeps 8 bits: a loss is off by about 2^-9 relative, a gradient norm by a few of these,
  // after three steps of 1e-3.
  const Trace exact =
      run(MPI_COMM_WORLD, make_config(2, GradientCheckpointing::kNone, false), kSlots);
  th::config::RunConfig config = make_config(2, GradientCheckpointing::kNone, false);
  config.precision.dtype = GetParam().dtype;
  config.precision.reduce_dtype = GetParam().reduced;
  const Trace rounded = run(MPI_COMM_WORLD, config, kSlots);
  for (std::size_t i = 0; i < exact.numbers.size(); ++i) {
    const double tolerance = i % 2 == 0 ? 0x1p-9 : 0x1p-6;
    EXPECT_NEAR(rounded.numbers[i], exact.numbers[i], tolerance * exact.numbers[i])
        << "number " << i;
    EXPECT_NE(rounded.numbers[i], exact.numbers[i]) << "computed in fp32 after all?";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Types, ShortPrecision,
    testing::Values(PrecisionCase{"bf16", th::ElementType::kBf16, th::config::ReduceDtype::kFp32},
                    PrecisionCase{"bf16_reduced_short", th::ElementType::kBf16,
                                  th::config::ReduceDtype::kWorking},
                    PrecisionCase{"fp16", th::ElementType::kFp16, th::config::ReduceDtype::kFp32},
                    PrecisionCase{"fp16_reduced_short", th::ElementType::kFp16,
                                  th::config::ReduceDtype::kWorking}),
    [](const auto& p) { return std::string(p.param.name); });

TEST(Nodes, EveryPlacementOfRanksGivesTheBitsOfOneRank) {
  // 8 slots are whole subtrees of most nodes, 13 leave a ragged last round and nodes whose slots
  // are aligned in one round and not in the next.
  for (const std::int64_t slots : {std::int64_t{8}, std::int64_t{13}}) {
    const Trace& alone = of_one_rank(make_config(0, GradientCheckpointing::kNone, true), slots);
    for (const std::vector<int>& nodes : th_test::node_placements(ranks())) {
      for (const std::int64_t stage : {0, 2, 3}) {
        const Trace together =
            run(MPI_COMM_WORLD, make_config(stage, GradientCheckpointing::kNone, true), slots,
                TransportChoice::kBest, nodes);
        EXPECT_EQ(alone.numbers, together.numbers)
            << "stage " << stage << ", nodes " << testing::PrintToString(nodes);
        EXPECT_EQ(alone.parameters, together.parameters)
            << "stage " << stage << ", nodes " << testing::PrintToString(nodes);
      }
    }
  }
}

TEST(Nodes, LittleSharedMemoryChangesNoBit) {
  // What windows are refused at each size: all, those that all ranks have once, the large ones.
  const Trace& alone = of_one_rank(make_config(0, GradientCheckpointing::kNone, true), 13);
  std::vector<int> halves;
  for (int r = 0; r < ranks(); ++r) halves.push_back(r < ranks() / 2 ? 0 : 1);
  for (const char* room : {"0", "1200000", "1500000", "9000000", "12000000"}) {
    ASSERT_EQ(setenv("TH_FAKE_SHARED_ROOM", room, 1), 0);
    for (const std::vector<int>& nodes : {std::vector<int>(halves.size(), 0), halves}) {
      for (const std::int64_t stage : {0, 1, 2, 3}) {
        const Trace together =
            run(MPI_COMM_WORLD, make_config(stage, GradientCheckpointing::kNone, true), 13,
                TransportChoice::kBest, nodes);
        EXPECT_EQ(alone.numbers, together.numbers) << "stage " << stage << ", room " << room
                                                   << ", nodes " << testing::PrintToString(nodes);
        EXPECT_EQ(alone.parameters, together.parameters)
            << "stage " << stage << ", room " << room << ", nodes "
            << testing::PrintToString(nodes);
      }
    }
  }
  ASSERT_EQ(unsetenv("TH_FAKE_SHARED_ROOM"), 0);
}

TEST(Nodes, SumsOfSixteenBitGradientsLeaveANodeUnrounded) {
  th::config::RunConfig config = make_config(2, GradientCheckpointing::kNone, false);
  config.precision.dtype = th::ElementType::kBf16;
  config.precision.reduce_dtype = th::config::ReduceDtype::kWorking;
  const Trace& alone = of_one_rank(config);
  for (const std::vector<int>& nodes : th_test::node_placements(ranks())) {
    const Trace together = run(MPI_COMM_WORLD, config, kSlots, TransportChoice::kBest, nodes);
    EXPECT_EQ(alone.numbers, together.numbers) << "nodes " << testing::PrintToString(nodes);
    EXPECT_EQ(alone.parameters, together.parameters) << "nodes " << testing::PrintToString(nodes);
  }
}

struct OverlapCase {
  const char* name;
  std::int64_t stage;
  GradientCheckpointing recompute = GradientCheckpointing::kNone;
  std::int64_t ahead = 1, kept = 0;  ///< zero.prefetch_units, zero.persistence_threshold
  th::ElementType dtype = th::ElementType::kFp32;
  th::config::ReduceDtype reduced = th::config::ReduceDtype::kFp32;
};

class Overlap : public testing::TestWithParam<OverlapCase> {};

TEST_P(Overlap, CommunicationBesideComputeGivesTheBitsOfOneRankWithout) {
  const OverlapCase& c = GetParam();
  for (const bool tied : {false, true}) {
    th::config::RunConfig config = make_config(0, GradientCheckpointing::kNone, tied);
    config.precision.dtype = c.dtype;
    config.precision.reduce_dtype = c.reduced;
    const Trace& alone = of_one_rank(config);
    config.model.gradient_checkpointing = c.recompute;
    config.comm.overlap = th::config::Overlap::kOn;
    config.zero.stage = c.stage;
    config.zero.prefetch_units = c.ahead;
    config.zero.persistence_threshold = c.kept;
    for (const std::int64_t transport : {0, 1}) {
      const Trace together = run(MPI_COMM_WORLD, config, kSlots,
                                 transport == 0 ? TransportChoice::kBest : TransportChoice::kMpi);
      EXPECT_EQ(alone.numbers, together.numbers)
          << (tied ? "tied" : "separate") << ", transport " << transport;
      EXPECT_EQ(alone.parameters, together.parameters)
          << (tied ? "tied" : "separate") << ", transport " << transport;
    }
  }
}

constexpr auto kBf16 = th::ElementType::kBf16;
constexpr auto kShort = th::config::ReduceDtype::kWorking;
constexpr auto kLong = th::config::ReduceDtype::kFp32;
INSTANTIATE_TEST_SUITE_P(
    Cases, Overlap,
    testing::Values(
        OverlapCase{"stage0", 0}, OverlapCase{"stage1_sqrt", 1, GradientCheckpointing::kSqrt},
        OverlapCase{"stage2", 2},
        OverlapCase{"stage0_bf16", 0, GradientCheckpointing::kFull, 1, 0, kBf16, kShort},
        OverlapCase{"stage1_bf16", 1, GradientCheckpointing::kNone, 1, 0, kBf16, kLong},
        OverlapCase{"stage2_bf16_short", 2, GradientCheckpointing::kFull, 1, 0, kBf16, kShort},
        OverlapCase{"stage3_on_demand", 3, GradientCheckpointing::kNone, 0},
        OverlapCase{"stage3", 3},
        OverlapCase{"stage3_full_two_ahead", 3, GradientCheckpointing::kFull, 2},
        OverlapCase{"stage3_sqrt_many_ahead", 3, GradientCheckpointing::kSqrt, 100},
        OverlapCase{"stage3_small_kept", 3, GradientCheckpointing::kSqrt, 1, 2000},
        OverlapCase{"stage3_all_kept", 3, GradientCheckpointing::kFull, 1, 1 << 20},
        OverlapCase{"stage3_bf16", 3, GradientCheckpointing::kSqrt, 2, 2000, kBf16, kLong},
        OverlapCase{"stage3_bf16_short", 3, GradientCheckpointing::kNone, 1, 0, kBf16, kShort}),
    [](const auto& p) { return std::string(p.param.name); });

TEST(OverlapOfNodes, MessagesOfTheCommunicationThreadGiveTheSameBits) {
  th::config::RunConfig config = make_config(3, GradientCheckpointing::kFull, false);
  const Trace& alone = of_one_rank(config, 13);
  config.comm.overlap = th::config::Overlap::kOn;
  for (const std::vector<int>& nodes : th_test::node_placements(ranks())) {
    for (const std::int64_t stage : {0, 3}) {
      config.zero.stage = stage;
      const Trace together = run(MPI_COMM_WORLD, config, 13, TransportChoice::kBest, nodes);
      EXPECT_EQ(alone.numbers, together.numbers)
          << "stage " << stage << ", nodes " << testing::PrintToString(nodes);
      EXPECT_EQ(alone.parameters, together.parameters)
          << "stage " << stage << ", nodes " << testing::PrintToString(nodes);
    }
  }
}

TEST(Overflow, NamesTheFirstTensorOnEveryRankAndUpdatesNothing) {
  // Gradients of fp16 activations that are scaled by 2^30 do not fit; the output projection's
  // logits gradient is the first to overflow, so every tensor before it in the layout overflows
  // too, the first of them being the source embedding.
  th::config::RunConfig config = make_config(3, GradientCheckpointing::kNone, false);
  config.precision.dtype = th::ElementType::kFp16;
  const auto collectives = th::runtime::make_mpi_collectives(MPI_COMM_WORLD);
  th::model::Transformer model({config.model, kVocabulary, kVocabulary, 32},
                               th::model::GemmLibrary::kMkl);
  th::zero::ZeroEngine engine(config, model, *collectives, kSlots);
  std::vector<float> before(static_cast<std::size_t>(engine.layout().shard_total())),
      after(before.size());
  engine.states().read(th::zero::State::kParameters, before);
  engine.begin_step();
  for (std::int64_t round = 0; round < engine.rounds(); ++round) {
    const std::int64_t slot = round * collectives->size() + collectives->rank();
    const th::data::Batch batch = slot < kSlots ? make_slot(0, slot) : th::data::Batch{};
    engine.accumulate(model, slot < kSlots ? &batch : nullptr, 0, 0x1p30, 0.0);
  }
  const th::zero::StepResult result = engine.step({1e-3, 1, 0x1p30});
  EXPECT_FALSE(std::isfinite(result.grad_norm));
  EXPECT_TRUE(std::isfinite(result.loss_sum));
  EXPECT_EQ(result.not_finite, "source_embedding.weight");
  engine.states().read(th::zero::State::kParameters, after);
  EXPECT_EQ(before, after);
}

TEST(Reduction, FastAgreesWithExactToRounding) {
  th::config::RunConfig config = make_config(0, GradientCheckpointing::kNone, false);
  const Trace exact = run(MPI_COMM_WORLD, config, kSlots);
  config.comm.reduction = Reduction::kFast;
  for (std::int64_t stage = 0; stage <= 3; ++stage) {
    config.zero.stage = stage;
    const Trace fast = run(MPI_COMM_WORLD, config, kSlots);
    for (std::size_t i = 0; i < exact.numbers.size(); ++i)
      EXPECT_NEAR(exact.numbers[i], fast.numbers[i], 1e-4 * std::abs(exact.numbers[i]))
          << "stage " << stage;
  }
}

}  // namespace

TH_MPI_TEST_MAIN
