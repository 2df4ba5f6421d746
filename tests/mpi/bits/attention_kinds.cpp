// Local attention, ALiBi, rotary positions and thinned cross attention: the same bits at every rank
// count, stage and recompute kind, and memory by the plan, in one kernel and by products.
#include <gtest/gtest.h>

#include "measured_memory.hpp"
#include "mpi_test.hpp"
#include "th/model/memory/torch_memory.hpp"

#include <string>

namespace {

using th::config::Attention;
using th::config::AttentionKernels;
using th::config::GradientCheckpointing;
using th::config::Position;
using th_test::kVocabulary;
using th_test::make_config;
using th_test::ranks;

struct Kind {
  const char* name;
  Attention encoder, decoder, cross;
  std::int64_t window;
  Position position;
  std::int64_t downsample;
};

constexpr Kind kKinds[] = {
    {"encoder", Attention::kLocal, Attention::kFull, Attention::kFull, 5, Position::kSinusoidal, 1},
    {"local", Attention::kLocal, Attention::kLocal, Attention::kLocal, 9, Position::kAlibi, 1},
    {"thin", Attention::kFull, Attention::kFull, Attention::kFull, 0, Position::kRope, 3},
    {"all", Attention::kLocal, Attention::kLocal, Attention::kLocal, 20, Position::kRope, 4}};

void set(th::config::ModelSection& model, const Kind& kind) {
  model.encoder_attention = kind.encoder;
  model.decoder_attention = kind.decoder;
  model.cross_attention = kind.cross;
  model.attention_window = kind.window;
  model.position = kind.position;
  model.cross_downsample = kind.downsample;
}

class AttentionKinds : public testing::TestWithParam<std::tuple<Kind, AttentionKernels>> {
 protected:
  void SetUp() override { th::model::observe_torch_memory(); }
};

constexpr std::int64_t kSlots = 8;

/// Two sentences a slot, the longer one of several blocks.
th::data::Batch make_slot(std::int64_t slot) {
  th::data::Batch b;
  for (const std::int64_t length : {7 + slot, 70 + 9 * slot}) {
    std::vector<std::int32_t> ids;
    for (std::int64_t t = 0; t < length; ++t)
      ids.push_back(static_cast<std::int32_t>(
          4 + th::hash_pair(static_cast<std::uint64_t>(slot), static_cast<std::uint64_t>(t)) %
                  (kVocabulary - 4)));
    std::vector<std::int32_t> target = ids;
    target.resize(static_cast<std::size_t>(length * 4 / 5));
    b.append(ids, target);
  }
  return b;
}

struct Trace {
  std::vector<double> numbers;  ///< losses and norms of the steps
  std::vector<float> parameters;
  friend bool operator==(const Trace&, const Trace&) = default;
};

Trace run(MPI_Comm comm, const th::config::RunConfig& config) {
  const auto collectives = th::runtime::make_mpi_collectives(comm);
  th::model::Transformer model({config.model, kVocabulary, kVocabulary, 160, 1.25},
                               th::model::GemmLibrary::kMkl, th::model::Arithmetic::kCompute,
                               th::model::host_compute(config.run));
  th::zero::ZeroEngine engine(config, model, *collectives, kSlots);
  Trace trace;
  for (std::int64_t step = 0; step < 2; ++step) {
    engine.begin_step();
    for (std::int64_t round = 0; round < engine.rounds(); ++round) {
      const std::int64_t slot = round * collectives->size() + collectives->rank();
      const th::data::Batch batch = slot < kSlots ? make_slot(slot) : th::data::Batch{};
      engine.accumulate(model, slot < kSlots ? &batch : nullptr, static_cast<std::uint64_t>(step),
                        1e-3, 0.1);
    }
    const th::zero::StepResult result = engine.step({1e-3, step + 1});
    trace.numbers.push_back(result.loss_sum);
    trace.numbers.push_back(result.grad_norm);
  }
  const auto whole = engine.units().gather_all(model);
  for (std::size_t u = 0; u < model.units().size(); ++u) {
    for (const at::Tensor& t : whole->open_forward(static_cast<std::int64_t>(u)).values) {
      const float* p = t.data_ptr<float>();
      trace.parameters.insert(trace.parameters.end(), p, p + t.numel());
    }
  }
  return trace;
}

TEST_P(AttentionKinds, SameBitsAtEveryStageAndRecomputeKindAsOneRank) {
  const auto config_of = [&](std::int64_t stage, GradientCheckpointing recompute) {
    th::config::RunConfig config = make_config(stage, recompute, {32, 2, 0, 0});
    set(config.model, std::get<0>(GetParam()));
    config.model.dropout = 0.2;
    config.run.attention = std::get<1>(GetParam());
    return config;
  };
  const Trace alone = th_test::made_by_rank_0<Trace>(
      [&] { return run(MPI_COMM_SELF, config_of(0, GradientCheckpointing::kNone)); });
  const std::pair<std::int64_t, GradientCheckpointing> settings[] = {
      {0, GradientCheckpointing::kSelective},
      {1, GradientCheckpointing::kFull},
      {2, GradientCheckpointing::kSqrt},
      {3, GradientCheckpointing::kNone},
      {3, GradientCheckpointing::kSelective}};
  for (const auto& [stage, recompute] : settings)
    EXPECT_TRUE(alone == run(MPI_COMM_WORLD, config_of(stage, recompute))) << "stage " << stage;
}

TEST_P(AttentionKinds, MemoryIsThatOfThePlan) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer keeps its own operator new";
#endif
  constexpr th_test::Size kSize{64, 2, 2, 150};
  for (const GradientCheckpointing recompute :
       {GradientCheckpointing::kNone, GradientCheckpointing::kSelective,
        GradientCheckpointing::kFull}) {
    th::config::RunConfig config = make_config(2, recompute, kSize);
    set(config.model, std::get<0>(GetParam()));
    config.run.attention = std::get<1>(GetParam());
    const std::int64_t planned = th_test::plan(config, kSize, false).total();
    const std::int64_t measured =
        th_test::measure(config, kSize, 0, th::runtime::TransportChoice::kBest).total();
    EXPECT_NEAR(static_cast<double>(measured) / static_cast<double>(planned), 1.0, 1e-3)
        << planned << " planned, " << measured << " measured";
  }
}

/// Lists of more than 512 blocks, and of encoder states, are large enough to be counted.
TEST(LongSentences, HaveTheirListsOfBlocksInThePlan) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer keeps its own operator new";
#endif
  th::model::observe_torch_memory();
  constexpr th_test::Size kSize{16, 1, 3, 8192};
  th::config::RunConfig config = make_config(0, GradientCheckpointing::kFull, kSize);
  set(config.model,
      {"", Attention::kLocal, Attention::kLocal, Attention::kLocal, 8, Position::kSinusoidal, 2});
  for (const AttentionKernels kernels : {AttentionKernels::kAuto, AttentionKernels::kProducts}) {
    config.run.attention = kernels;
    const auto planned = th_test::plan(config, kSize, false);
    const auto measured = th_test::measure(config, kSize, 0, th::runtime::TransportChoice::kBest);
    using th::runtime::MemoryClass;
    EXPECT_EQ(measured[MemoryClass::kActivations], planned[MemoryClass::kActivations]);
    EXPECT_EQ(measured[MemoryClass::kUntagged], planned[MemoryClass::kUntagged]);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, AttentionKinds,
                         testing::Combine(testing::ValuesIn(kKinds),
                                          testing::Values(AttentionKernels::kAuto,
                                                          AttentionKernels::kProducts)),
                         [](const auto& p) {
                           return std::string(std::get<0>(p.param).name) +
                                  (std::get<1>(p.param) == AttentionKernels::kAuto ? "_kernel"
                                                                                   : "_products");
                         });

}  // namespace

TH_MPI_TEST_MAIN
