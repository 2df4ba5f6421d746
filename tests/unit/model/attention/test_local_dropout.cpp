// Draws of attention's dropout under local rules: products of blocks of sentences draw what
// attention in one kernel draws.
#include <gtest/gtest.h>

#include "th/model/ops/host_ops.hpp"
#include "unit/model/small_model.hpp"

#include <vector>

namespace th::model {
namespace {

using test::RecordingSource;
using test::relative_error;

/// fp32 chains of three layers, relative to the largest element.
constexpr double kLocalTolerance = 1e-5;

/// Losses and gradients of one batch.
struct Result {
  double loss;
  at::Tensor gradients;
};

Result run(const config::ModelSection& section, const data::Batch& batch, bool fused,
           bool keep_cheap, double rate) {
  config::ModelSection m = section;
  m.attention_dropout = rate;
  m.gradient_checkpointing =
      keep_cheap ? config::GradientCheckpointing::kNone : config::GradientCheckpointing::kSelective;
  Transformer model({m, test::kVocabulary, test::kVocabulary, 300, 1.25}, GemmLibrary::kOnednn,
                    Arithmetic::kCompute, {.fused_attention = fused});
  RecordingSource source(model);
  const LossSum sum = model.train_slot(source, batch, {.dropout_key = 17, .gradient_scale = 0.01});
  return {sum.loss_sum, source.gradients()};
}

/// Sentences in several groups of lengths, the long ones of several blocks.
data::Batch long_batch() { return test::make_batch({3, 9, 40, 161, 200}, {5, 6, 70, 130, 180}); }

struct LocalKind {
  std::int64_t window, downsample;
};
constexpr LocalKind kKinds[] = {{20, 1}, {70, 3}};

TEST(LocalDropout, ProductsDrawWhatTheKernelDraws) {
  if (!host_ops<float>().has<op::Attention<float>>()) GTEST_SKIP() << "no attention in one kernel";
  for (const LocalKind& kind : kKinds) {
    config::ModelSection m = test::small_section();
    m.encoder_attention = m.decoder_attention = m.cross_attention = config::Attention::kLocal;
    m.attention_window = kind.window;
    m.cross_downsample = kind.downsample;
    const data::Batch batch = long_batch();
    const Result kernel = run(m, batch, true, true, 0.3), none = run(m, batch, true, true, 0.0);
    EXPECT_GT(relative_error(kernel.gradients, none.gradients.to(at::kDouble)), 0.01);
    for (const bool keep_cheap : {false, true}) {
      const Result products = run(m, batch, false, keep_cheap, 0.3);
      EXPECT_NEAR(products.loss, kernel.loss, kLocalTolerance * kernel.loss);
      EXPECT_LT(relative_error(products.gradients, kernel.gradients.to(at::kDouble)),
                kLocalTolerance)
          << "window " << kind.window;
    }
  }
}

}  // namespace
}  // namespace th::model
