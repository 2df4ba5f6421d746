// The kernels of 16-bit elements compute in fp32 and round once: each agrees with the fp32 kernel
// on the widened inputs, rounded.
#include <gtest/gtest.h>

#include "th/model/ops/element.hpp"
#include "th/model/ops/host_ops.hpp"
#include "unit/model/tensors.hpp"

#include <vector>

namespace th::model {
namespace {

using test::data;
using test::loss_of;
using test::normal;
using test::same_bits;

template <typename T>
class ShortKernels : public testing::Test {
 public:
  static constexpr at::ScalarType kType = std::is_same_v<T, Bf16> ? at::kBFloat16 : at::kHalf;
  static T* short_data(const at::Tensor& t) { return elements<T>(t); }
  /// N(0, 1) in the type, and the same values in fp32.
  static std::pair<at::Tensor, at::Tensor> values(at::IntArrayRef shape, std::uint64_t seed) {
    const at::Tensor rounded = normal(shape, seed).to(kType);
    return {rounded, rounded.to(at::kFloat)};
  }
  static void expect_rounded(const at::Tensor& seen, const at::Tensor& fp32) {
    EXPECT_TRUE(same_bits(seen, fp32.to(kType)));
  }
};
using Types = testing::Types<Bf16, Fp16>;
TYPED_TEST_SUITE(ShortKernels, Types);

constexpr Dropout kDropout{77, 0.25F};

TYPED_TEST(ShortKernels, WidenAndNarrowAreLibTorchsConversions) {
  const at::Tensor x = normal({1000}, 1) * 100;
  at::Tensor narrow_x = at::empty({1000}, TestFixture::kType), wide = at::empty({1000});
  compute(
      op::Narrow<TypeParam>{.x = data(x), .y = TestFixture::short_data(narrow_x), .count = 1000});
  EXPECT_TRUE(same_bits(narrow_x, x.to(TestFixture::kType)));
  compute(
      op::Widen<TypeParam>{.x = TestFixture::short_data(narrow_x), .y = data(wide), .count = 1000});
  EXPECT_TRUE(same_bits(wide, narrow_x.to(at::kFloat)));
}

TYPED_TEST(ShortKernels, SumsAndDropout) {
  const auto [x, wide_x] = TestFixture::values({333}, 2);
  const auto [s, wide_s] = TestFixture::values({333}, 3);
  at::Tensor y = at::empty_like(x), wide_y = at::empty_like(wide_x);
  compute(op::AddDropout<TypeParam>{.x = TestFixture::short_data(x),
                                    .s = TestFixture::short_data(s),
                                    .y = TestFixture::short_data(y),
                                    .count = 333,
                                    .dropout = kDropout});
  compute(op::AddDropout<float>{
      .x = data(wide_x), .s = data(wide_s), .y = data(wide_y), .count = 333, .dropout = kDropout});
  TestFixture::expect_rounded(y, wide_y);
  compute(op::ApplyDropout<TypeParam>{.x = TestFixture::short_data(x),
                                      .out = TestFixture::short_data(y),
                                      .count = 333,
                                      .dropout = kDropout});
  compute(op::ApplyDropout<float>{
      .x = data(wide_x), .out = data(wide_y), .count = 333, .dropout = kDropout});
  TestFixture::expect_rounded(y, wide_y);
  compute(op::AddTo<TypeParam>{
      .y = TestFixture::short_data(y), .x = TestFixture::short_data(s), .count = 333});
  const at::Tensor sum = wide_y.to(TestFixture::kType).to(at::kFloat) + wide_s;
  TestFixture::expect_rounded(y, sum);
}

TYPED_TEST(ShortKernels, FeedForward) {
  const auto [h, wide_h] = TestFixture::values({5, 37}, 4);
  const auto [bias, wide_bias] = TestFixture::values({37}, 5);
  const auto [g, wide_g] = TestFixture::values({5, 37}, 6);
  compute(op::BiasReluDropout<TypeParam>{.h = TestFixture::short_data(h),
                                         .bias = TestFixture::short_data(bias),
                                         .rows = 5,
                                         .columns = 37,
                                         .dropout = kDropout});
  compute(op::BiasReluDropout<float>{
      .h = data(wide_h), .bias = data(wide_bias), .rows = 5, .columns = 37, .dropout = kDropout});
  TestFixture::expect_rounded(h, wide_h);
  compute(op::ReluDropoutBackward<TypeParam>{.h = TestFixture::short_data(h),
                                             .g = TestFixture::short_data(g),
                                             .count = g.numel(),
                                             .dropout = kDropout});
  compute(op::ReluDropoutBackward<float>{
      .h = data(wide_h), .g = data(wide_g), .count = g.numel(), .dropout = kDropout});
  TestFixture::expect_rounded(g, wide_g);
}

TYPED_TEST(ShortKernels, SumsOverRowsStayInSinglePrecision) {
  const auto [x, wide_x] = TestFixture::values({40, 19}, 8);
  at::Tensor sums = at::zeros({19}), wide_sums = at::zeros({19});
  compute(op::AddColumnSums<TypeParam>{
      .x = TestFixture::short_data(x), .out = data(sums), .rows = 40, .columns = 19});
  compute(op::AddColumnSums<float>{
      .x = data(wide_x), .out = data(wide_sums), .rows = 40, .columns = 19});
  EXPECT_TRUE(same_bits(sums, wide_sums));
  compute(op::Accumulate<TypeParam>{.y = data(sums), .x = TestFixture::short_data(x), .count = 19});
  EXPECT_TRUE(same_bits(sums, wide_sums + wide_x[0]));
}

TYPED_TEST(ShortKernels, LayerNorm) {
  const auto [x, wide_x] = TestFixture::values({6, 50}, 9);
  const auto [gamma, wide_gamma] = TestFixture::values({50}, 10);
  const auto [beta, wide_beta] = TestFixture::values({50}, 11);
  const auto [g, wide_g] = TestFixture::values({6, 50}, 12);
  at::Tensor y = at::empty_like(x), wide_y = at::empty_like(wide_x), g_x = at::empty_like(x),
             wide_g_x = at::empty_like(wide_x);
  at::Tensor mean = at::empty({6}), rstd = at::empty({6}), g_gamma = at::zeros({50}),
             g_beta = at::zeros({50});
  at::Tensor wide_g_gamma = at::zeros({50}), wide_g_beta = at::zeros({50});
  compute(op::LayerNorm<TypeParam>{.x = TestFixture::short_data(x),
                                   .gamma = TestFixture::short_data(gamma),
                                   .beta = TestFixture::short_data(beta),
                                   .y = TestFixture::short_data(y),
                                   .mean = data(mean),
                                   .rstd = data(rstd),
                                   .rows = 6,
                                   .columns = 50});
  compute(op::LayerNormBackward<TypeParam>{.g = TestFixture::short_data(g),
                                           .x = TestFixture::short_data(x),
                                           .gamma = TestFixture::short_data(gamma),
                                           .mean = data(mean),
                                           .rstd = data(rstd),
                                           .g_x = TestFixture::short_data(g_x),
                                           .g_gamma = data(g_gamma),
                                           .g_beta = data(g_beta),
                                           .rows = 6,
                                           .columns = 50});
  compute(op::LayerNorm<float>{.x = data(wide_x),
                               .gamma = data(wide_gamma),
                               .beta = data(wide_beta),
                               .y = data(wide_y),
                               .mean = data(mean),
                               .rstd = data(rstd),
                               .rows = 6,
                               .columns = 50});
  compute(op::LayerNormBackward<float>{.g = data(wide_g),
                                       .x = data(wide_x),
                                       .gamma = data(wide_gamma),
                                       .mean = data(mean),
                                       .rstd = data(rstd),
                                       .g_x = data(wide_g_x),
                                       .g_gamma = data(wide_g_gamma),
                                       .g_beta = data(wide_g_beta),
                                       .rows = 6,
                                       .columns = 50});
  TestFixture::expect_rounded(y, wide_y);
  TestFixture::expect_rounded(g_x, wide_g_x);
  EXPECT_TRUE(same_bits(g_gamma, wide_g_gamma));
  EXPECT_TRUE(same_bits(g_beta, wide_g_beta));
}

TYPED_TEST(ShortKernels, SoftmaxOfScores) {
  const std::vector<std::int32_t> lengths{5, 3};
  for (const runtime::ScoreRule rule : {test::kFull, test::kCausal}) {
    const auto [s, wide_s] = TestFixture::values({2 * 3, 5, 5}, 13);
    compute(op::MaskedSoftmax<TypeParam>{.scores = TestFixture::short_data(s),
                                         .key_lengths = lengths.data(),
                                         .rule = rule,
                                         .batch = 2,
                                         .heads = 3,
                                         .queries = 5,
                                         .keys = 5});
    compute(op::MaskedSoftmax<float>{.scores = data(wide_s),
                                     .key_lengths = lengths.data(),
                                     .rule = rule,
                                     .batch = 2,
                                     .heads = 3,
                                     .queries = 5,
                                     .keys = 5});
    TestFixture::expect_rounded(s, wide_s);
    const at::Tensor p = s.to(at::kFloat);
    const auto [g, wide_g] = TestFixture::values({2 * 3, 5, 5}, 14);
    compute(op::SoftmaxDropoutBackward<TypeParam>{.p = TestFixture::short_data(s),
                                                  .g = TestFixture::short_data(g),
                                                  .rows = 30,
                                                  .keys = 5,
                                                  .dropout = kDropout});
    compute(op::SoftmaxDropoutBackward<float>{
        .p = data(p), .g = data(wide_g), .rows = 30, .keys = 5, .dropout = kDropout});
    TestFixture::expect_rounded(g, wide_g);
  }
}

TYPED_TEST(ShortKernels, RowsToHeadsAndBack) {
  const std::vector<std::int64_t> offsets{0, 4, 8};
  const auto [x, wide_x] = TestFixture::values({2 * 4, 12}, 15);
  at::Tensor heads = at::empty({2 * 3, 4, 4}, TestFixture::kType),
             wide_heads = at::empty({2 * 3, 4, 4}), back = at::empty_like(x);
  compute(op::SplitHeads<TypeParam>{.x = TestFixture::short_data(x),
                                    .offsets = offsets.data(),
                                    .out = TestFixture::short_data(heads),
                                    .batch = 2,
                                    .length = 4,
                                    .heads = 3,
                                    .width = 4,
                                    .stride = 12,
                                    .scale = 1.0F});
  compute(op::SplitHeads<float>{.x = data(wide_x),
                                .offsets = offsets.data(),
                                .out = data(wide_heads),
                                .batch = 2,
                                .length = 4,
                                .heads = 3,
                                .width = 4,
                                .stride = 12,
                                .scale = 1.0F});
  TestFixture::expect_rounded(heads, wide_heads);
  compute(op::MergeHeads<TypeParam>{.h = TestFixture::short_data(heads),
                                    .offsets = offsets.data(),
                                    .x = TestFixture::short_data(back),
                                    .batch = 2,
                                    .length = 4,
                                    .heads = 3,
                                    .width = 4,
                                    .stride = 12,
                                    .scale = 1.0F});
  EXPECT_TRUE(same_bits(back, x));
}

TYPED_TEST(ShortKernels, EmbeddingAndLoss) {
  const std::vector<std::int64_t> ids{4, 0, 7, 4};
  const auto [weight, wide_weight] = TestFixture::values({9, 10}, 16);
  const at::Tensor position = normal({4, 10}, 17);
  at::Tensor y = at::empty({4, 10}, TestFixture::kType), wide_y = at::empty({4, 10});
  const std::vector<std::int32_t> places{0, 1, 2, 3};
  compute(op::Embed<TypeParam>{.weight = TestFixture::short_data(weight),
                               .ids = ids.data(),
                               .position = data(position),
                               .places = places.data(),
                               .y = TestFixture::short_data(y),
                               .rows = 4,
                               .width = 10,
                               .scale = 3.0F,
                               .dropout = kDropout});
  compute(op::Embed<float>{.weight = data(wide_weight),
                           .ids = ids.data(),
                           .position = data(position),
                           .places = places.data(),
                           .y = data(wide_y),
                           .rows = 4,
                           .width = 10,
                           .scale = 3.0F,
                           .dropout = kDropout});
  TestFixture::expect_rounded(y, wide_y);
  at::Tensor g_weight = at::zeros({9, 10}), wide_g_weight = at::zeros({9, 10});
  const at::Tensor wide_g = y.to(at::kFloat);
  compute(op::EmbedBackward<TypeParam>{.g = TestFixture::short_data(y),
                                       .ids = ids.data(),
                                       .g_weight = data(g_weight),
                                       .rows = 4,
                                       .width = 10,
                                       .scale = 3.0F,
                                       .dropout = kDropout});
  compute(op::EmbedBackward<float>{.g = data(wide_g),
                                   .ids = ids.data(),
                                   .g_weight = data(wide_g_weight),
                                   .rows = 4,
                                   .width = 10,
                                   .scale = 3.0F,
                                   .dropout = kDropout});
  EXPECT_TRUE(same_bits(g_weight, wide_g_weight));
  for (const float smoothing : {0.0F, 0.1F}) {
    const auto [logits, wide_logits] = TestFixture::values({4, 31}, 18);
    const double loss =
        loss_of(op::CrossEntropy<TypeParam>{.logits = TestFixture::short_data(logits),
                                            .labels = ids.data(),
                                            .rows = 4,
                                            .vocabulary = 31,
                                            .smoothing = smoothing,
                                            .g_scale = 0.5F});
    EXPECT_EQ(loss, loss_of(op::CrossEntropy<float>{.logits = data(wide_logits),
                                                    .labels = ids.data(),
                                                    .rows = 4,
                                                    .vocabulary = 31,
                                                    .smoothing = smoothing,
                                                    .g_scale = 0.5F}));
    TestFixture::expect_rounded(logits, wide_logits);
  }
}

}  // namespace
}  // namespace th::model
