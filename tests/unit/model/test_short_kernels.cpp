// The kernels of 16-bit elements compute in fp32 and round once: each agrees with the fp32 kernel
// on the widened inputs, rounded.
#include <gtest/gtest.h>

#include "tensors.hpp"
#include "th/model/ops/element.hpp"
#include "th/model/ops/kernels.hpp"

#include <vector>

namespace th::model {
namespace {

using test::data;
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
  narrow(data(x), TestFixture::short_data(narrow_x), 1000);
  EXPECT_TRUE(same_bits(narrow_x, x.to(TestFixture::kType)));
  widen(TestFixture::short_data(narrow_x), data(wide), 1000);
  EXPECT_TRUE(same_bits(wide, narrow_x.to(at::kFloat)));
}

TYPED_TEST(ShortKernels, SumsAndDropout) {
  const auto [x, wide_x] = TestFixture::values({333}, 2);
  const auto [s, wide_s] = TestFixture::values({333}, 3);
  at::Tensor y = at::empty_like(x), wide_y = at::empty_like(wide_x);
  add_dropout(TestFixture::short_data(x), TestFixture::short_data(s), TestFixture::short_data(y),
              333, kDropout);
  add_dropout(data(wide_x), data(wide_s), data(wide_y), 333, kDropout);
  TestFixture::expect_rounded(y, wide_y);
  dropout_backward(TestFixture::short_data(x), TestFixture::short_data(y), 333, kDropout);
  dropout_backward(data(wide_x), data(wide_y), 333, kDropout);
  TestFixture::expect_rounded(y, wide_y);
  add_to(TestFixture::short_data(y), TestFixture::short_data(s), 333);
  const at::Tensor sum = wide_y.to(TestFixture::kType).to(at::kFloat) + wide_s;
  TestFixture::expect_rounded(y, sum);
}

TYPED_TEST(ShortKernels, FeedForward) {
  const auto [h, wide_h] = TestFixture::values({5, 37}, 4);
  const auto [bias, wide_bias] = TestFixture::values({37}, 5);
  const auto [g, wide_g] = TestFixture::values({5, 37}, 6);
  bias_relu_dropout(TestFixture::short_data(h), TestFixture::short_data(bias), 5, 37, kDropout);
  bias_relu_dropout(data(wide_h), data(wide_bias), 5, 37, kDropout);
  TestFixture::expect_rounded(h, wide_h);
  relu_dropout_backward(TestFixture::short_data(h), TestFixture::short_data(g), g.numel(),
                        kDropout);
  relu_dropout_backward(data(wide_h), data(wide_g), g.numel(), kDropout);
  TestFixture::expect_rounded(g, wide_g);
}

TYPED_TEST(ShortKernels, SumsOverRowsStayInSinglePrecision) {
  const auto [x, wide_x] = TestFixture::values({40, 19}, 8);
  at::Tensor sums = at::zeros({19}), wide_sums = at::zeros({19});
  add_column_sums(TestFixture::short_data(x), data(sums), 40, 19);
  add_column_sums(data(wide_x), data(wide_sums), 40, 19);
  EXPECT_TRUE(same_bits(sums, wide_sums));
  accumulate(data(sums), TestFixture::short_data(x), 19);
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
  layer_norm(TestFixture::short_data(x), TestFixture::short_data(gamma),
             TestFixture::short_data(beta), TestFixture::short_data(y), data(mean), data(rstd), 6,
             50);
  layer_norm_backward(TestFixture::short_data(g), TestFixture::short_data(x),
                      TestFixture::short_data(gamma), data(mean), data(rstd),
                      TestFixture::short_data(g_x), data(g_gamma), data(g_beta), 6, 50);
  layer_norm(data(wide_x), data(wide_gamma), data(wide_beta), data(wide_y), data(mean), data(rstd),
             6, 50);
  layer_norm_backward(data(wide_g), data(wide_x), data(wide_gamma), data(mean), data(rstd),
                      data(wide_g_x), data(wide_g_gamma), data(wide_g_beta), 6, 50);
  TestFixture::expect_rounded(y, wide_y);
  TestFixture::expect_rounded(g_x, wide_g_x);
  EXPECT_TRUE(same_bits(g_gamma, wide_g_gamma));
  EXPECT_TRUE(same_bits(g_beta, wide_g_beta));
}

TYPED_TEST(ShortKernels, Attention) {
  const std::vector<std::int32_t> lengths{5, 3};
  for (const bool causal : {false, true}) {
    const auto [s, wide_s] = TestFixture::values({2 * 3, 5, 5}, 13);
    const AttentionMask mask{lengths.data(), causal};
    masked_softmax(TestFixture::short_data(s), 2, 3, 5, 5, mask);
    masked_softmax(data(wide_s), 2, 3, 5, 5, mask);
    TestFixture::expect_rounded(s, wide_s);
    const at::Tensor p = s.to(at::kFloat);
    const auto [g, wide_g] = TestFixture::values({2 * 3, 5, 5}, 14);
    softmax_dropout_backward(TestFixture::short_data(s), TestFixture::short_data(g), 30, 5,
                             kDropout);
    softmax_dropout_backward(data(p), data(wide_g), 30, 5, kDropout);
    TestFixture::expect_rounded(g, wide_g);
  }
  const std::vector<std::int64_t> offsets{0, 4, 8};
  const auto [x, wide_x] = TestFixture::values({2 * 4, 12}, 15);
  at::Tensor heads = at::empty({2 * 3, 4, 4}, TestFixture::kType),
             wide_heads = at::empty({2 * 3, 4, 4}), back = at::empty_like(x);
  split_heads(TestFixture::short_data(x), offsets.data(), TestFixture::short_data(heads), 2, 4, 3,
              4, 12, 1.0F);
  split_heads(data(wide_x), offsets.data(), data(wide_heads), 2, 4, 3, 4, 12, 1.0F);
  TestFixture::expect_rounded(heads, wide_heads);
  merge_heads(TestFixture::short_data(heads), offsets.data(), TestFixture::short_data(back), 2, 4,
              3, 4, 12, 1.0F);
  EXPECT_TRUE(same_bits(back, x));
}

TYPED_TEST(ShortKernels, EmbeddingAndLoss) {
  const std::vector<std::int64_t> ids{4, 0, 7, 4};
  const auto [weight, wide_weight] = TestFixture::values({9, 10}, 16);
  const at::Tensor position = normal({4, 10}, 17);
  at::Tensor y = at::empty({4, 10}, TestFixture::kType), wide_y = at::empty({4, 10});
  const std::vector<std::int32_t> places{0, 1, 2, 3};
  embed(TestFixture::short_data(weight), ids.data(), data(position), places.data(),
        TestFixture::short_data(y), 4, 10, 3.0F, kDropout);
  embed(data(wide_weight), ids.data(), data(position), places.data(), data(wide_y), 4, 10, 3.0F,
        kDropout);
  TestFixture::expect_rounded(y, wide_y);
  at::Tensor g_weight = at::zeros({9, 10}), wide_g_weight = at::zeros({9, 10});
  const at::Tensor wide_g = y.to(at::kFloat);
  embed_backward(TestFixture::short_data(y), ids.data(), data(g_weight), 4, 10, 3.0F, kDropout);
  embed_backward(data(wide_g), ids.data(), data(wide_g_weight), 4, 10, 3.0F, kDropout);
  EXPECT_TRUE(same_bits(g_weight, wide_g_weight));
  for (const float smoothing : {0.0F, 0.1F}) {
    const auto [logits, wide_logits] = TestFixture::values({4, 31}, 18);
    const double loss =
        cross_entropy(TestFixture::short_data(logits), ids.data(), 4, 31, smoothing, 0.5F);
    EXPECT_EQ(loss, cross_entropy(data(wide_logits), ids.data(), 4, 31, smoothing, 0.5F));
    TestFixture::expect_rounded(logits, wide_logits);
  }
}

}  // namespace
}  // namespace th::model
