// Which source token a target token looks at most: of a layer whose queries are known, and of
// attention in one kernel against attention by products.
#include <gtest/gtest.h>

#include "model/blocks/stack.hpp"
#include "th/model/decoding/alignment.hpp"
#include "unit/model/small_model.hpp"

#include <cmath>

namespace th::model {
namespace {

using test::RecordingSource;

constexpr const char* kCross = "decoder.layers.2.multihead_attn.in_proj_";

at::Tensor encoded(const Transformer& model, RecordingSource& source, const data::Batch& batch) {
  c10::InferenceMode no_grad;
  Pass pass{.batch = batch, .context = model.inference()};
  UnitWalk walk(source, &pass);
  return model.encoder().forward(walk, nullptr).clone();
}

TEST(Alignment, IsTheLargestMeanOverHeadsOfTheLastLayersWeights) {
  c10::InferenceMode no_grad;
  const config::ModelSection section = test::small_section();
  const Transformer model = test::make_model(section);
  RecordingSource source(model, 4, 0.8);
  const std::int64_t width = section.d_model, heads = section.num_heads;
  // Queries are the bias, whatever the decoder has.
  const at::Tensor weight = source.value(std::string(kCross) + "weight");
  weight.narrow(0, 0, width).zero_();
  const at::Tensor bias = source.value(std::string(kCross) + "bias");
  const data::Batch batch = test::make_batch({9, 3, 7}, {4, 2, 6});
  const at::Tensor keys = encoded(model, source, batch).matmul(weight.narrow(0, width, width).t()) +
                          bias.narrow(0, width, width);
  const auto aligned = align_targets(model, source, batch);
  ASSERT_EQ(aligned.size(), 3U);
  std::int64_t first = 0;
  for (std::size_t b = 0; b < aligned.size(); ++b) {
    const std::int64_t length = batch.source_lengths[b];
    const at::Tensor k = keys.narrow(0, first, length).reshape({length, heads, width / heads});
    const at::Tensor q = bias.narrow(0, 0, width).reshape({1, heads, width / heads});
    const at::Tensor scores = (k * q).sum(2) / std::sqrt(static_cast<double>(width / heads));
    const at::Tensor mean = at::softmax(scores, 0).mean(1);
    const auto want = mean.narrow(0, 0, length - 1).argmax().item<std::int64_t>();
    ASSERT_EQ(std::ssize(aligned[b]), batch.target_lengths[b] - 1);
    for (const std::int32_t at : aligned[b]) EXPECT_EQ(at, want);
    first += length;
  }
}

/// The same model without attention in one kernel.
Transformer by_products(const config::ModelSection& section) {
  ComputeDevice device;
  device.fused_attention = false;
  return {{section, test::kVocabulary, test::kVocabulary, test::kMaxLength},
          GemmLibrary::kOnednn,
          Arithmetic::kCompute,
          device};
}

TEST(Alignment, IsTheSameByProductsAndWithThinnedMemory) {
  for (const std::int64_t thinning : {1, 2}) {
    config::ModelSection section = test::small_section(config::Norm::kPost);
    section.cross_downsample = thinning;
    const Transformer fused = test::make_model(section), products = by_products(section);
    RecordingSource source(fused, 7, 0.8);
    const data::Batch batch = test::make_batch({9, 1, 4, 12, 6}, {7, 3, 1, 9, 5});
    const auto one = align_targets(fused, source, batch);
    const auto two = align_targets(products, source, batch);
    EXPECT_EQ(one, two);
    for (const std::int32_t at : one[1]) EXPECT_EQ(at, -1) << "a source without a token";
    for (const std::int32_t at : one[3]) {
      EXPECT_GE(at, 0);
      EXPECT_LT(at, 11);
      EXPECT_EQ(at % thinning, 0);
    }
  }
}

}  // namespace
}  // namespace th::model
