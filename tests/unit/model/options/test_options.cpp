// Models with options: what every model keeps to, and what an option alone says. Their numbers
// against PyTorch: tests/golden/test_options.cpp.
#include <gtest/gtest.h>

#include "model/blocks/embedding.hpp"
#include "th/base/error.hpp"
#include "th/model/decoding/decoding.hpp"
#include "unit/model/small_model.hpp"

#include <cmath>
#include <functional>
#include <string>

namespace th::model {
namespace {

using config::GradientCheckpointing;
using config::ModelSection;
using test::make_batch;
using test::make_model;
using test::RecordingSource;
using test::relative_error;
using test::same_bits;
using test::small_section;
using test::usual_batch;

struct OptionCase {
  const char* name;
  std::function<void(ModelSection&)> set;
};

const OptionCase kCases[] = {
    {"rms", [](ModelSection& m) { m.norm_kind = config::NormKind::kRms; }},
    {"post_without_final_norm",
     [](ModelSection& m) {
       m.norm = config::Norm::kPost;
       m.final_norm = false;
     }},
    {"embedding_norm", [](ModelSection& m) { m.embedding_norm = true; }},
    {"gelu", [](ModelSection& m) { m.activation = config::Activation::kGelu; }},
    {"swish_tied_decoder",
     [](ModelSection& m) {
       m.activation = config::Activation::kSwish;
       m.tie_embeddings = config::Tying::kDecoder;
     }},
    {"swiglu_tied_embeddings",
     [](ModelSection& m) {
       m.activation = config::Activation::kSwiglu;
       m.tie_embeddings = config::Tying::kEmbeddings;
     }},
    {"learned", [](ModelSection& m) { m.position = config::Position::kLearned; }},
    {"zero_start", [](ModelSection& m) { m.start = config::Start::kZero; }},
    {"qk_norm", [](ModelSection& m) { m.qk_norm = true; }},
    {"all",
     [](ModelSection& m) {
       m.norm_kind = config::NormKind::kRms;
       m.embedding_norm = true;
       m.activation = config::Activation::kSwiglu;
       m.tie_embeddings = config::Tying::kAll;
       m.position = config::Position::kLearned;
       m.start = config::Start::kZero;
       m.qk_norm = true;
       m.attention_dropout = 0.05;
       m.activation_dropout = 0.2;
     }},
};

class OptionModels : public testing::TestWithParam<OptionCase> {
 protected:
  [[nodiscard]] static ModelSection section(double dropout) {
    ModelSection m = small_section();
    GetParam().set(m);
    m.dropout = dropout;
    if (dropout == 0) m.attention_dropout = m.activation_dropout = -1;
    return m;
  }
};
INSTANTIATE_TEST_SUITE_P(Transformer, OptionModels, testing::ValuesIn(kCases),
                         [](const auto& p) { return std::string(p.param.name); });

constexpr GradientCheckpointing kKinds[] = {
    GradientCheckpointing::kNone, GradientCheckpointing::kSelective, GradientCheckpointing::kFull,
    GradientCheckpointing::kSqrt};

TEST_P(OptionModels, EveryKindOfRecomputationGivesTheSameBitsInEveryType) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    at::Tensor first;
    for (const GradientCheckpointing kind : kKinds) {
      ModelSection m = section(0.1);
      m.gradient_checkpointing = kind;
      Transformer model = make_model(m);
      RecordingSource source(model);
      for (UnitTensors& unit : source.units()) {
        for (at::Tensor& value : unit.values) value = value.to(type);
      }
      (void)model.train_slot(source, usual_batch(), {17, 0.01, 0.1});
      const at::Tensor got = source.gradients();
      EXPECT_TRUE(got.isfinite().all().item<bool>());
      if (!first.defined()) first = got.clone();
      EXPECT_TRUE(same_bits(got, first)) << type << ", kind " << static_cast<int>(kind);
    }
    EXPECT_GT(first.abs().max().item<float>(), 0.0F);
  }
}

TEST_P(OptionModels, AnIdleRankMakesTheCollectiveCallsOfAComputingOne) {
  for (const GradientCheckpointing kind : kKinds) {
    ModelSection m = section(0.1);
    m.gradient_checkpointing = kind;
    Transformer model = make_model(m);
    RecordingSource computing(model), idle(model), evaluating(model), idle_forward(model);
    (void)model.train_slot(computing, usual_batch(), {1, 1.0, 0.0});
    model.idle(idle, IdlePass::kSlot);
    EXPECT_EQ(idle.collective_calls, computing.collective_calls) << static_cast<int>(kind);
    EXPECT_EQ(idle.backward_closes, computing.backward_closes);
    EXPECT_EQ(std::ssize(computing.backward_closes), std::ssize(model.units()));
    EXPECT_TRUE(computing.all_closed());
    EXPECT_LE(computing.most_open, 2);
    (void)model.evaluate(evaluating, usual_batch());
    model.idle(idle_forward, IdlePass::kForward);
    EXPECT_EQ(idle_forward.collective_calls, evaluating.collective_calls);
    EXPECT_TRUE(evaluating.all_closed());
  }
}

/// Central difference of the loss along each tensor's own gradient, under dropout.
TEST_P(OptionModels, GradientsAreTheSlopeOfTheLossUnderDropoutAndSmoothing) {
  Transformer model = make_model(section(0.1));
  RecordingSource source(model);
  const data::Batch batch = usual_batch();
  const double loss = model.train_slot(source, batch, {5, 1.0, 0.1}).loss_sum;
  std::vector<std::vector<at::Tensor>> gradients;
  for (const UnitTensors& unit : source.units()) {
    gradients.emplace_back();
    for (const at::Tensor& g : unit.gradients) gradients.back().push_back(g.clone());
  }
  for (std::size_t u = 0; u < gradients.size(); ++u) {
    UnitTensors& unit = source.units()[u];
    double square = 0;
    for (const at::Tensor& g : gradients[u])
      square += g.to(at::kDouble).square().sum().item<double>();
    const auto loss_at = [&](double step) {
      std::vector<at::Tensor> before;
      for (std::size_t i = 0; i < unit.values.size(); ++i) {
        before.push_back(unit.values[i].clone());
        unit.values[i].add_(gradients[u][i], step);
      }
      const double moved = model.train_slot(source, batch, {5, 1.0, 0.1}).loss_sum;
      for (std::size_t i = 0; i < unit.values.size(); ++i) unit.values[i].copy_(before[i]);
      return moved;
    };
    const double step = 3e-5 * loss / square;
    EXPECT_NEAR((loss_at(step) - loss_at(-step)) / (2 * step) / square, 1.0, 4e-3)
        << model.units()[u].name;  // 1e-7 / 6e-5, twice over
  }
}

/// The decoder one position at a time against the whole prefix.
TEST_P(OptionModels, StepsOfDecodingAgreeWithTheWholePrefix) {
  Transformer model = make_model(section(0));
  RecordingSource source(model);
  const data::Batch batch = make_batch({6, 3, 8}, {6, 6, 6});
  const at::Tensor whole = model.logits(source, batch).reshape({3, 6, -1});
  IncrementalDecoder decoder(model, source, batch, 1, 6);
  for (std::int64_t t = 0; t < 6; ++t) {
    std::vector<std::int32_t> ids;
    for (std::int64_t b = 0; b < 3; ++b)
      ids.push_back(
          static_cast<std::int32_t>(batch.target_in[static_cast<std::size_t>(b * 6 + t)]));
    EXPECT_LT(relative_error(decoder.step(ids, std::vector<std::int64_t>{0, 1, 2}).values,
                             whole.select(1, t)),
              1e-5)
        << t;
  }
}

TEST(DropoutRates, AreThoseOfTheModelWhereTheyAreNotGiven) {
  ModelSection m = small_section();
  m.dropout = 0.3;
  Transformer plain = make_model(m);
  m.attention_dropout = m.activation_dropout = 0.3;
  Transformer given = make_model(m);
  RecordingSource a(plain), b(given);
  EXPECT_EQ(plain.train_slot(a, usual_batch(), {5, 1.0, 0.0}).loss_sum,
            given.train_slot(b, usual_batch(), {5, 1.0, 0.0}).loss_sum);
  EXPECT_TRUE(same_bits(a.gradients(), b.gradients()));
}

/// With all rates but one at 0, the loss depends on the draws where that one is not 0.
TEST(DropoutRates, EachIsOfItsOwnPlace) {
  ModelSection m = small_section();
  m.dropout = m.attention_dropout = m.activation_dropout = 0;
  const auto loss = [&](std::uint64_t key) {
    Transformer model = make_model(m);
    RecordingSource source(model);
    return model.train_slot(source, usual_batch(), {key, 1.0, 0.0}).loss_sum;
  };
  const double none = loss(1);
  EXPECT_EQ(loss(2), none);
  for (double* rate : {&m.dropout, &m.attention_dropout, &m.activation_dropout}) {
    *rate = 0.3;
    EXPECT_NE(loss(1), none);
    EXPECT_NE(loss(1), loss(2));
    *rate = 0;
  }
}

TEST(LearnedPositions, EndWhereTheTableEnds) {
  ModelSection m = small_section();
  m.position = config::Position::kLearned;
  Transformer model({m, test::kVocabulary, test::kVocabulary, 6}, GemmLibrary::kOnednn);
  EXPECT_EQ(model.longest(), 6);
  EXPECT_EQ(model.constant_bytes(), 0);
  RecordingSource source(model);
  EXPECT_NO_THROW((void)model.logits(source, make_batch({6}, {6})));
  EXPECT_THROW((void)model.logits(source, make_batch({7}, {6})), InternalError);
  // Decoding ends with the table: begin and five ids have its six places.
  const auto found = translate(model, source, make_batch({6}, {2}), {1, 1.0, 50, 1});
  EXPECT_LE(std::ssize(found[0][0].ids), 5);
}

TEST(SinusoidalPositions, HaveTheFrequenciesAndColumnsAskedFor) {
  ModelSection m;
  m.d_model = 8;
  for (const bool halves : {false, true}) {
    for (const bool marian : {false, true}) {
      m.position_layout =
          halves ? config::PositionLayout::kHalves : config::PositionLayout::kInterleaved;
      m.position_frequency =
          marian ? config::PositionFrequency::kMarian : config::PositionFrequency::kStandard;
      const at::Tensor table = sinusoidal_positions(m, 40);
      for (std::int64_t t = 0; t < 40; ++t) {
        for (std::int64_t i = 0; i < 4; ++i) {
          const double exponent =
              marian ? static_cast<double>(i) / 3 : 2 * static_cast<double>(i) / 8;
          const double angle = static_cast<double>(t) * std::pow(10000.0, -exponent);
          EXPECT_NEAR(table[t][halves ? i : 2 * i].item<double>(), std::sin(angle), 1e-7);
          EXPECT_NEAR(table[t][halves ? 4 + i : 2 * i + 1].item<double>(), std::cos(angle), 1e-7);
        }
      }
    }
  }
}

TEST(ZeroStart, TheBeginSymbolsRowHasNoPart) {
  ModelSection m = small_section();
  m.start = config::Start::kZero;
  Transformer model = make_model(m);
  RecordingSource source(model);
  const at::Tensor before = model.logits(source, usual_batch());
  (void)model.train_slot(source, usual_batch(), {1, 1.0, 0.0});
  EXPECT_TRUE(at::equal(source.gradient("target_embedding.weight")[data::kBegin], at::zeros({16})));
  source.value("target_embedding.weight")[data::kBegin].fill_(7);
  EXPECT_TRUE(same_bits(model.logits(source, usual_batch()), before));
}

}  // namespace
}  // namespace th::model
