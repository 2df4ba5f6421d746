// Models with options: the same bits at every rank count, stage and kind of recomputation, and a
// memory plan that is what the ledger counts.
#include <gtest/gtest.h>

#include "exact_run.hpp"
#include "measured_memory.hpp"
#include "mpi_test.hpp"
#include "th/model/memory/torch_memory.hpp"

#include <string>

namespace {

using th::config::GradientCheckpointing;
using th::config::ModelSection;
using th::config::RunConfig;
using th::config::Tying;
using th_test::exact::kSlots;
using th_test::exact::Trace;

/// Two sets that have every option between them, and the two tyings that they leave out.
enum class Set { kToday, kMarian, kTiedEmbeddings, kTiedDecoder };
constexpr Set kSets[] = {Set::kToday, Set::kMarian, Set::kTiedEmbeddings, Set::kTiedDecoder};

void set_options(ModelSection& m, Set set) {
  if (set == Set::kTiedEmbeddings) m.tie_embeddings = Tying::kEmbeddings;
  if (set == Set::kTiedDecoder || set == Set::kToday) m.tie_embeddings = Tying::kDecoder;
  if (set == Set::kToday) {
    m.norm_kind = th::config::NormKind::kRms;
    m.norm_eps = 1e-6;
    m.embedding_norm = m.qk_norm = m.depth_scaled_init = true;
    m.activation = th::config::Activation::kSwiglu;
    m.position = th::config::Position::kLearned;
    m.attention_dropout = 0;
    m.activation_dropout = 0.3;
  }
  if (set != Set::kMarian) return;
  m.norm = th::config::Norm::kPost;
  m.final_norm = false;
  m.activation = th::config::Activation::kGelu;
  m.position_layout = th::config::PositionLayout::kHalves;
  m.position_frequency = th::config::PositionFrequency::kMarian;
  m.start = th::config::Start::kZero;
  m.tie_embeddings = Tying::kAll;
}

RunConfig small_config(std::int64_t stage, GradientCheckpointing kind, Set set) {
  RunConfig c;
  c.model.d_model = 32;
  c.model.num_heads = 4;
  c.model.num_encoder_layers = c.model.num_decoder_layers = 2;
  c.model.d_ff = 48;
  c.model.dropout = 0.2;
  c.model.gradient_checkpointing = kind;
  c.zero.stage = stage;
  c.data.max_length = th_test::exact::kLongest;
  set_options(c.model, set);
  return c;
}

class OptionSets : public th_test::OnTheLedger<testing::TestWithParam<Set>> {};
std::string name_of(const testing::TestParamInfo<Set>& info) {
  constexpr const char* kNames[] = {"today", "marian", "tied_embeddings", "tied_decoder"};
  return kNames[static_cast<std::size_t>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(Models, OptionSets, testing::ValuesIn(kSets), name_of);

TEST_P(OptionSets, HaveTheBitsOfOneRankAtEveryStageAndKindOfRecomputation) {
  for (const auto dtype : {th::ElementType::kFp32, th::ElementType::kBf16}) {
    RunConfig config = small_config(0, GradientCheckpointing::kNone, GetParam());
    config.precision.dtype = dtype;
    const Trace alone = th_test::made_by_rank_0<Trace>(
        [&] { return th_test::exact::run(MPI_COMM_SELF, config, kSlots); });
    for (std::int64_t stage = 0; stage <= 3; ++stage) {
      for (const GradientCheckpointing kind :
           {GradientCheckpointing::kNone, GradientCheckpointing::kSelective,
            GradientCheckpointing::kFull, GradientCheckpointing::kSqrt}) {
        config.zero.stage = stage;
        config.model.gradient_checkpointing = kind;
        config.comm.overlap = stage % 2 == 0 ? th::config::Overlap::kOff : th::config::Overlap::kOn;
        const Trace together = th_test::exact::run(MPI_COMM_WORLD, config, kSlots);
        EXPECT_EQ(alone.numbers, together.numbers)
            << "stage " << stage << " kind " << static_cast<int>(kind);
        EXPECT_EQ(alone.parameters, together.parameters)
            << "stage " << stage << " kind " << static_cast<int>(kind);
      }
    }
  }
}

TEST_P(OptionSets, ArePlannedAsTheyAreMeasured) {
  const th_test::Size size{64, 2, 8, 24};
  for (const auto dtype : {th::ElementType::kFp32, th::ElementType::kBf16}) {
    for (std::int64_t stage = 0; stage <= 3; ++stage) {
      for (const GradientCheckpointing kind :
           {GradientCheckpointing::kNone, GradientCheckpointing::kSelective,
            GradientCheckpointing::kSqrt}) {
        RunConfig config = th_test::make_config(stage, kind, size);
        set_options(config.model, GetParam());
        config.data.max_length = th_test::kLongest;
        config.precision.dtype = dtype;
        const th::runtime::MemoryUse planned = th_test::plan(config, size, false);
        const th::runtime::MemoryUse measured =
            th_test::measure(config, size, 0, th_test::TransportChoice::kBest);
        const std::string where =
            "stage " + std::to_string(stage) + " kind " + std::to_string(static_cast<int>(kind));
        using th::runtime::MemoryClass;
        for (const MemoryClass c :
             {MemoryClass::kParameters, MemoryClass::kMaster, MemoryClass::kGradients,
              MemoryClass::kGatherSlots, MemoryClass::kActivations,
              th::runtime::optimizer_state_class(0)})
          EXPECT_EQ(planned[c], measured[c]) << where << " " << th::runtime::memory_class_name(c);
        EXPECT_NEAR(static_cast<double>(measured.total()) / static_cast<double>(planned.total()),
                    1.0, 0.005)
            << where;
      }
    }
  }
}

/// A model whose peak is the update of one of its layers: rows and columns of 2304.
constexpr th_test::Size kOneLayer{64, 1, 1, 4};
constexpr std::int64_t kHidden = 2304;

TEST(WholeTensors, TakeWhatThePlanSaysToTheByte) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the address sanitizer keeps its own operator new";
#endif
  th::model::observe_torch_memory();
  for (const th::config::OptimizerKind optimizer :
       {th::config::OptimizerKind::kAdafactor, th::config::OptimizerKind::kMuon}) {
    for (const std::int64_t stage : {0, 2}) {
      th::config::RunConfig config =
          th_test::make_config(stage, th::config::GradientCheckpointing::kFull, kOneLayer);
      config.model.d_ff = kHidden;
      config.optimizer.name = optimizer;
      th::zero::PlanRequest request = th_test::plan_request(config, kOneLayer, false);
      MPI_Comm_rank(MPI_COMM_WORLD, &request.rank);  // not all own the same tensors
      const th::zero::MemoryPlan::Phase planned = th::zero::plan_memory(request).peak();
      const th_test::MemoryUse measured =
          th_test::measure(config, kOneLayer, 0, th_test::TransportChoice::kBest);
      const std::string where = std::string(th::runtime::optimizer_name(optimizer)) + ", stage " +
                                std::to_string(stage) + ", peak in " + planned.name;
      for (const th_test::MemoryClass kind :
           {th_test::MemoryClass::kCommunication, th_test::MemoryClass::kUntagged})
        EXPECT_EQ(measured[kind], planned.use[kind]) << where;
      // Of more ranks some own no large tensor of a unit.
      if (th_test::ranks() <= 3) {
        EXPECT_EQ(planned.name, "whole tensors");
      }
    }
  }
}

}  // namespace

TH_MPI_TEST_MAIN
