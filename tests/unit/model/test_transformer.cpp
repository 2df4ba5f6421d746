// The whole model. Its numbers against PyTorch: tests/golden. Its blocks: test_attention.cpp,
// test_layers.cpp.
#include <gtest/gtest.h>

#include "model/blocks/output.hpp"
#include "small_model.hpp"
#include "th/base/error.hpp"

#include <cmath>
#include <string>

namespace th::model {
namespace {

using config::GradientCheckpointing;
using config::Norm;
using test::make_batch;
using test::make_model;
using test::RecordingSource;
using test::relative_error;
using test::same_bits;
using test::small_section;
using test::usual_batch;

class Variants : public testing::TestWithParam<std::tuple<Norm, bool>> {
 protected:
  [[nodiscard]] config::ModelSection section(double dropout = 0) const {
    config::ModelSection m = small_section(std::get<0>(GetParam()), std::get<1>(GetParam()));
    m.dropout = dropout;
    return m;
  }
  [[nodiscard]] bool tied() const { return std::get<1>(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Transformer, Variants,
                         testing::Combine(testing::Values(Norm::kPre, Norm::kPost),
                                          testing::Bool()),
                         [](const auto& p) {
                           return std::string(std::get<0>(p.param) == Norm::kPre ? "pre" : "post") +
                                  (std::get<1>(p.param) ? "_tied" : "");
                         });

constexpr GradientCheckpointing kKinds[] = {
    GradientCheckpointing::kNone, GradientCheckpointing::kSelective, GradientCheckpointing::kFull,
    GradientCheckpointing::kSqrt};

TEST_P(Variants, EveryKindOfRecomputationGivesTheSameBitsForEveryGradient) {
  for (const std::int64_t layers :
       {1, 2, 5}) {  // sqrt: segments of 1, 2 and 3 layers, the last one short
    config::ModelSection m = section(0.1);
    m.num_encoder_layers = layers;
    m.num_decoder_layers = layers + 1;
    Transformer plain = make_model(m);
    RecordingSource want(plain);
    const double loss = plain.train_slot(want, usual_batch(), {17, 0.01, 0.1}).loss_sum;
    EXPECT_GT(want.gradients().abs().max().item<float>(), 0.0F);
    for (const GradientCheckpointing kind : kKinds) {
      m.gradient_checkpointing = kind;
      Transformer model = make_model(m);
      RecordingSource got(model);
      EXPECT_EQ(model.train_slot(got, usual_batch(), {17, 0.01, 0.1}).loss_sum, loss);
      EXPECT_TRUE(same_bits(got.gradients(), want.gradients()))
          << "kind " << static_cast<int>(kind) << ", " << layers << " layers";
    }
  }
}

TEST_P(Variants, AnIdleRankMakesTheCollectiveCallsOfAComputingOne) {
  for (const GradientCheckpointing kind : kKinds) {
    for (const std::int64_t layers : {1, 2, 4, 5}) {
      config::ModelSection m = section(0.1);
      m.gradient_checkpointing = kind;
      m.num_encoder_layers = layers;
      Transformer model = make_model(m);
      RecordingSource computing(model), idle(model);
      (void)model.train_slot(computing, usual_batch(), {1, 1.0, 0.0});
      model.idle(idle, IdlePass::kSlot);
      EXPECT_EQ(idle.collective_calls, computing.collective_calls)
          << "kind " << static_cast<int>(kind) << ", " << layers << " layers";
      EXPECT_EQ(idle.backward_opens, computing.backward_opens);
      EXPECT_EQ(idle.backward_closes, computing.backward_closes);
      EXPECT_TRUE(computing.all_closed());
      EXPECT_TRUE(idle.all_closed());
    }
  }
}

/// More target rows than logits exist at a time: three slices, the last one short.
TEST_P(Variants, TheLossInSlicesIsTheLossOfTheWhole) {
  Transformer model = make_model(section());
  RecordingSource source(model), parts(model);
  const std::vector<std::int32_t> lengths(150, 15);
  const data::Batch batch = make_batch(lengths, lengths);
  ASSERT_GT(batch.target_tokens, 2 * Output::kLogitRows);
  const LossSum sum = model.train_slot(source, batch, {1, 1.0, 0.1});
  double loss = 0;
  const std::vector<std::int32_t> third(50, 15);
  data::Batch part = make_batch(third, third);
  for (std::int64_t first = 0; first < batch.target_tokens; first += part.target_tokens) {
    for (auto [from, to] : {std::pair(&batch.source, &part.source),
                            {&batch.target_in, &part.target_in},
                            {&batch.target_out, &part.target_out}}) {
      std::copy(from->begin() + first, from->begin() + first + part.target_tokens, to->begin());
    }
    loss += model.train_slot(parts, part, {1, 1.0, 0.1}).loss_sum;
  }
  EXPECT_NEAR(sum.loss_sum, loss, 2e-6 * loss);
  EXPECT_LT(relative_error(source.gradients(), parts.gradients()), 1e-5);
  EXPECT_NEAR(model.evaluate(source, batch).loss_sum,
              at::cross_entropy_loss(model.logits(source, batch).to(at::kDouble),
                                     at::tensor(batch.target_out, at::kLong), {},
                                     at::Reduction::Sum, 0, 0.0)
                  .item<double>(),
              1e-6 * loss);
}

TEST_P(Variants, AnIdleRankMakesTheCollectiveCallsOfAnEvaluatingOne) {
  Transformer model = make_model(section());
  RecordingSource computing(model), idle(model), logits(model);
  (void)model.evaluate(computing, usual_batch());
  (void)model.logits(logits, usual_batch());
  model.idle(idle, IdlePass::kForward);
  EXPECT_EQ(idle.collective_calls, computing.collective_calls);
  EXPECT_EQ(logits.collective_calls, computing.collective_calls);
  EXPECT_TRUE(computing.all_closed());
  EXPECT_TRUE(idle.all_closed());
}

TEST_P(Variants, CollectiveCallsDoNotDependOnTheBatch) {
  Transformer model = make_model(section(0.1));
  RecordingSource a(model), b(model);
  (void)model.train_slot(a, usual_batch(), {1, 1.0, 0.0});
  (void)model.train_slot(b, test::make_batch({1}, {1}), {2, 1.0, 0.1});
  EXPECT_EQ(a.collective_calls, b.collective_calls);
}

TEST_P(Variants, GradientsAreCompleteFromTheOutputToTheFirstEmbeddingEachUnitOnce) {
  Transformer model = make_model(section());
  RecordingSource source(model);
  (void)model.train_slot(source, usual_batch(), {1, 1.0, 0.0});
  std::vector<std::string> names;
  for (const std::int64_t u : source.backward_closes)
    names.push_back(model.units()[static_cast<std::size_t>(u)].name);
  std::vector<std::string> want{"output",           "decoder.layers.2", "decoder.layers.1",
                                "decoder.layers.0", "target_embedding", "encoder.layers.1",
                                "encoder.layers.0", "source_embedding"};
  if (tied())
    want = {"output",           "decoder.layers.2", "decoder.layers.1", "decoder.layers.0",
            "encoder.layers.1", "encoder.layers.0", "embeddings"};
  EXPECT_EQ(names, want);
  EXPECT_EQ(names.size(), model.units().size());
  EXPECT_EQ(model.shared().long_lived[0], tied());
  EXPECT_EQ(std::count(model.shared().long_lived.begin(), model.shared().long_lived.end(), true),
            tied() ? 1 : 0);
}

TEST_P(Variants, OnlyTheLongLivedUnitIsOpenBesideAnother) {
  for (const GradientCheckpointing kind : kKinds) {
    config::ModelSection m = section();
    m.gradient_checkpointing = kind;
    Transformer model = make_model(m);
    RecordingSource source(model);
    (void)model.train_slot(source, usual_batch(), {1, 1.0, 0.0});
    EXPECT_EQ(source.most_open, tied() ? 2 : 1);
  }
}

/// Central difference of the loss along each unit's own gradient. The step moves the loss by 6e-5
/// of itself: small, so that no ReLU turns over on the way (at 2e-3 some do, and the slope is off
/// by per cents), and well above the fp32 terms' noise of 1e-7.
TEST_P(Variants, GradientsAreTheSlopeOfTheLossUnderDropoutAndSmoothing) {
  Transformer model = make_model(section(0.1));
  RecordingSource source(model);
  const data::Batch batch = usual_batch();
  const double loss = model.train_slot(source, batch, {5, 1.0, 0.1}).loss_sum;
  std::vector<std::vector<at::Tensor>> gradients;
  for (const UnitTensors& unit : source.units()) {
    gradients.emplace_back();
    for (const at::Tensor& g : unit.gradients) gradients.back().push_back(g.clone());
  }
  const auto loss_at = [&](std::size_t u, double step) {
    UnitTensors& unit = source.units()[u];
    std::vector<at::Tensor> before;
    for (std::size_t i = 0; i < unit.values.size(); ++i) {
      before.push_back(unit.values[i].clone());
      unit.values[i].add_(gradients[u][i], step);
    }
    const double moved = model.train_slot(source, batch, {5, 1.0, 0.1}).loss_sum;
    for (std::size_t i = 0; i < unit.values.size(); ++i) unit.values[i].copy_(before[i]);
    return moved;
  };
  for (std::size_t u = 0; u < gradients.size(); ++u) {
    double square = 0;
    for (const at::Tensor& g : gradients[u])
      square += g.to(at::kDouble).square().sum().item<double>();
    const double step = 3e-5 * loss / square;
    const double slope = (loss_at(u, step) - loss_at(u, -step)) / (2 * step);
    EXPECT_NEAR(slope / square, 1.0, 4e-3) << model.units()[u].name;  // 1e-7 / 6e-5, twice over
  }
}

TEST_P(Variants, DoublingTheScaleDoublesEveryGradientExactly) {
  Transformer model = make_model(section(0.1));
  RecordingSource a(model), b(model);
  const double loss_a = model.train_slot(a, usual_batch(), {3, 1.0, 0.1}).loss_sum;
  const double loss_b = model.train_slot(b, usual_batch(), {3, 2.0, 0.1}).loss_sum;
  EXPECT_EQ(loss_a, loss_b);
  EXPECT_TRUE(same_bits(a.gradients() * 2, b.gradients()));
}

TEST_P(Variants, GradientsAreAddedToWhatTheSourceHolds) {
  Transformer model = make_model(section());
  RecordingSource once(model), twice(model);
  (void)model.train_slot(once, usual_batch(), {3, 1.0, 0.0});
  (void)model.train_slot(twice, usual_batch(), {3, 1.0, 0.0});
  (void)model.train_slot(twice, usual_batch(), {3, 1.0, 0.0});
  EXPECT_LT(relative_error(twice.gradients(), once.gradients().to(at::kDouble) * 2),
            1e-6);  // fp32 sums in another order
}

/// 20 sentences of unlike lengths make two groups, padded on their own.
data::Batch many_sentences() {
  std::vector<std::int32_t> source, target;
  for (std::int32_t b = 0; b < 20; ++b) {
    source.push_back(1 + b * 5 % 11);
    target.push_back(1 + b * 3 % 10);
  }
  return make_batch(source, target);
}

TEST_P(Variants, ABatchIsTheSumOfItsSentences) {
  Transformer model = make_model(section());
  RecordingSource together(model), apart(model);
  const data::Batch batch = many_sentences();
  ASSERT_EQ(data::sentence_groups(batch.source_lengths, batch.target_lengths).size(), 2U);
  const LossSum sum = model.train_slot(together, batch, {1, 1.0, 0.1});
  double loss = 0;
  for (std::size_t b = 0; b < 20; ++b)
    loss += model.train_slot(apart, test::only(batch, b), {1, 1.0, 0.1}).loss_sum;
  EXPECT_NEAR(sum.loss_sum, loss,
              2e-6 * loss);  // fp32; other row counts may be multiplied in other blocks
  EXPECT_LT(relative_error(together.gradients(), apart.gradients()), 1e-5);
}

TEST_P(Variants, ASentenceHasTheSameLogitsInAnyBatch) {
  Transformer model = make_model(section());
  RecordingSource source(model);
  const data::Batch batch = many_sentences();
  const at::Tensor all = model.logits(source, batch);
  std::int64_t row = 0;
  for (std::size_t b = 0; b < 20; ++b) {
    const std::int64_t length = batch.target_lengths[b];
    EXPECT_LT(
        relative_error(model.logits(source, test::only(batch, b)), all.narrow(0, row, length)),
        1e-5)
        << b;
    row += length;
  }
  EXPECT_EQ(row, all.size(0));
}

TEST_P(Variants, LaterTargetTokensDoNotChangeEarlierLogits) {
  Transformer model = make_model(section());
  RecordingSource source(model);
  data::Batch batch = make_batch({6, 3, 8}, {7, 7, 7});
  const auto view = [&](const at::Tensor& t) {
    return t.view({batch.sentences, 7, test::kVocabulary});
  };
  const at::Tensor before = model.logits(source, batch);
  for (std::int64_t b = 0; b < batch.sentences; ++b)
    batch.target_in[static_cast<std::size_t>(b * 7 + 4)] = 20 - b;
  const at::Tensor after = model.logits(source, batch);
  EXPECT_TRUE(same_bits(view(before).narrow(1, 0, 4), view(after).narrow(1, 0, 4)));
  EXPECT_FALSE(same_bits(view(before).select(1, 4), view(after).select(1, 4)));
}

TEST_P(Variants, EvaluationIsTheCrossEntropyOfTheLogitsWithoutDropoutAndSmoothing) {
  Transformer model = make_model(section(0.5));
  RecordingSource source(model);
  const data::Batch batch = usual_batch();
  const LossSum sum = model.evaluate(source, batch);
  const at::Tensor labels = at::tensor(batch.target_out, at::kLong);
  const at::Tensor want = at::cross_entropy_loss(model.logits(source, batch).to(at::kDouble),
                                                 labels, {}, at::Reduction::Sum, 0, 0.0);
  EXPECT_NEAR(sum.loss_sum, want.item<double>(), 1e-6 * sum.loss_sum);  // fp32 exponentials
  EXPECT_EQ(sum.tokens, batch.target_tokens);
  EXPECT_EQ(sum.loss_sum, model.evaluate(source, batch).loss_sum);
}

TEST_P(Variants, TheDropoutKeyDecidesTheLossOfATrainingSlot) {
  Transformer model = make_model(section(0.1));
  RecordingSource source(model);
  const double first = model.train_slot(source, usual_batch(), {1, 1.0, 0.0}).loss_sum;
  EXPECT_EQ(first, model.train_slot(source, usual_batch(), {1, 1.0, 0.0}).loss_sum);
  EXPECT_NE(first, model.train_slot(source, usual_batch(), {2, 1.0, 0.0}).loss_sum);
}

TEST(Transformer, BothMatrixLibrariesAgree) {
  const config::ModelSection m = small_section();
  Transformer onednn = make_model(m, GemmLibrary::kOnednn), mkl = make_model(m, GemmLibrary::kMkl);
  RecordingSource a(onednn), b(mkl);
  const double loss_a = onednn.train_slot(a, usual_batch(), {1, 1.0, 0.1}).loss_sum;
  const double loss_b = mkl.train_slot(b, usual_batch(), {1, 1.0, 0.1}).loss_sum;
  EXPECT_NEAR(loss_a, loss_b, 1e-5 * loss_a);  // contract: other identities agree to 1e-5 relative
  EXPECT_LT(relative_error(a.gradients(), b.gradients()), 1e-5);
}

TEST(Transformer, HasTheTensorsOfTorchNnTransformer) {
  const Transformer model = make_model(small_section());
  const zero::FlatLayout layout(model.units(), 1);
  std::vector<std::string> names;
  for (const auto& t : layout.tensors()) names.push_back(t.spec.name);
  // 12 tensors an encoder layer, 18 a decoder layer, two last norms, two embeddings, the
  // projection's weight and bias.
  EXPECT_EQ(names.size(), 2U * 12 + 3 * 18 + 4 + 2 + 2);
  for (const char* name :
       {"encoder.layers.0.self_attn.in_proj_weight",
        "decoder.layers.2.multihead_attn.out_proj.bias", "encoder.norm.weight", "decoder.norm.bias",
        "source_embedding.weight", "target_embedding.weight", "output_projection.weight",
        "output_projection.bias", "decoder.layers.0.norm3.weight"}) {
    EXPECT_EQ(std::count(names.begin(), names.end(), name), 1) << name;
  }
  EXPECT_TRUE(model.shared().aliases.empty());
}

TEST(Transformer, ATiedMatrixIsStoredOnceAndKnownByThreeNames) {
  const Transformer model = make_model(small_section(Norm::kPre, true));
  const zero::FlatLayout layout(model.units(), 1);
  int matrices = 0;
  for (const auto& t : layout.tensors())
    matrices += t.spec.shape == std::vector<std::int64_t>{test::kVocabulary, 16} ? 1 : 0;
  EXPECT_EQ(matrices, 1);
  ASSERT_EQ(model.shared().aliases.size(), 2U);
  for (const auto& alias : model.shared().aliases)
    EXPECT_EQ(alias.tensor, "source_embedding.weight");
}

TEST(Transformer, RefusesWhatCannotBeBuilt) {
  config::ModelSection m = small_section();
  m.num_heads = 3;
  EXPECT_THROW(make_model(m), InternalError);
  EXPECT_THROW(Transformer({small_section(Norm::kPre, true), 20, 21, 8}, GemmLibrary::kMkl),
               InternalError);
}

TEST(Transformer, RefusesASentenceBeyondThePositionTable) {
  Transformer model = make_model(small_section());
  RecordingSource source(model);
  EXPECT_THROW((void)model.logits(source, test::make_batch({21}, {2})), InternalError);
  EXPECT_NO_THROW((void)model.logits(source, test::make_batch({20}, {20})));
}

}  // namespace
}  // namespace th::model
