// Feed-forward and residual sublayers against LibTorch in fp64, with and without dropout.
// Attention: test_attention.cpp.
#include <gtest/gtest.h>

#include "block_parameters.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace th::model {
namespace {

using test::leaf;
using test::normal;
using test::relative_error;

// fp32, two products with sums of up to 48 terms, relative to the largest element.
constexpr double kLayerTolerance = 5e-6;
constexpr std::int64_t kRows = 11, kWidth = 24, kHidden = 48;

class Blocks : public testing::TestWithParam<std::tuple<GemmLibrary, float>> {};

TEST_P(Blocks, FeedForwardAndEveryGradientAgreeWithLibTorch) {
  const auto [library, rate] = GetParam();
  const Gemm gemm(library);
  const PassContext context{&gemm, 1, true, rate, 1, true};
  const Dropout dropout{77, rate};
  test::BlockParameters p({{kHidden, kWidth}, {kHidden}, {kWidth, kHidden}, {kWidth}}, 10);
  const at::Tensor in = normal({kRows, kWidth}, 1), g = normal({kRows, kWidth}, 2);
  FeedForwardTape tape;
  const at::Tensor y = FeedForward().forward(context, p.span(), in, dropout, tape);
  const at::Tensor g_x = FeedForward().backward(context, p.span(), g, in, dropout, tape);

  const at::Tensor x = leaf(in);
  const at::Tensor hidden =
      at::relu(at::linear(x, p.leaves[0], p.leaves[1])) * test::factors({kRows, kHidden}, dropout);
  const at::Tensor want = at::linear(hidden, p.leaves[2], p.leaves[3]);
  want.backward(g.to(at::kDouble));
  EXPECT_LT(relative_error(y, want), kLayerTolerance);
  EXPECT_LT(relative_error(g_x, x.grad()), kLayerTolerance);
  EXPECT_LT(p.gradient_error(), kLayerTolerance);
}

TEST_P(Blocks, ResidualAroundFeedForwardAgreesForPreAndPostNorm) {
  const auto [library, rate] = GetParam();
  const Gemm gemm(library);
  const Dropout inner{78, rate}, outer{79, rate};
  for (const auto& [pre, keep] :
       {std::pair{true, true}, {true, false}, {false, true}, {false, false}}) {
    const PassContext context{&gemm, 1, pre, rate, 1, keep};
    test::BlockParameters p({{kHidden, kWidth}, {kHidden}, {kWidth, kHidden}, {kWidth}}, 20),
        norm({{kWidth}, {kWidth}}, 30);
    norm.values[0].add_(1);
    norm.leaves[0] = leaf(norm.values[0]);
    const at::Tensor in = normal({kRows, kWidth}, 3), g = normal({kRows, kWidth}, 4);
    const at::Tensor in_before = in.clone(), g_before = g.clone();
    FeedForwardTape tape;
    ResidualTape norm_tape;
    const at::Tensor y =
        Residual().forward(context, norm.span(), in, outer, norm_tape, [&](const at::Tensor& h) {
          return FeedForward().forward(context, p.span(), h, inner, tape);
        });
    const at::Tensor g_x = Residual().backward(
        context, norm.span(), g, outer, norm_tape, [&](const at::Tensor& g_h, const at::Tensor& h) {
          return FeedForward().backward(context, p.span(), g_h, h, inner, tape);
        });
    EXPECT_TRUE(test::same_bits(in, in_before)) << "the input is kept for recomputation";
    EXPECT_TRUE(test::same_bits(g, g_before));

    const at::Tensor x = leaf(in);
    const auto normed = [&](const at::Tensor& t) {
      return at::layer_norm(t, {kWidth}, norm.leaves[0], norm.leaves[1], 1e-5);
    };
    const auto body = [&](const at::Tensor& t) {
      const at::Tensor hidden = at::relu(at::linear(t, p.leaves[0], p.leaves[1])) *
                                test::factors({kRows, kHidden}, inner);
      return at::linear(hidden, p.leaves[2], p.leaves[3]) * test::factors({kRows, kWidth}, outer);
    };
    const at::Tensor want = pre ? x + body(normed(x)) : normed(x + body(x));
    want.backward(g.to(at::kDouble));
    EXPECT_LT(relative_error(y, want), kLayerTolerance) << pre << keep;
    EXPECT_LT(relative_error(g_x, x.grad()), kLayerTolerance) << pre << keep;
    EXPECT_LT(p.gradient_error(), kLayerTolerance) << pre << keep;
    EXPECT_LT(norm.gradient_error(), kLayerTolerance) << pre << keep;
  }
}

INSTANTIATE_TEST_SUITE_P(LibTorch, Blocks,
                         testing::Combine(testing::Values(GemmLibrary::kOnednn, GemmLibrary::kMkl),
                                          testing::Values(0.0F, 0.3F)));

TEST(LayerNormBlock, AgainIsTheForwardResult) {
  const Gemm gemm(GemmLibrary::kMkl);
  const PassContext context{&gemm, 1, true, 0, 1, true};
  test::BlockParameters p({{kWidth}, {kWidth}}, 40);
  NormTape tape;
  const at::Tensor y = Norm().forward(context, p.span(), normal({kRows, kWidth}, 5), tape);
  EXPECT_TRUE(test::same_bits(y, Norm().again(context, p.span(), tape)));
}

TEST(DropoutSites, EveryBlockAndSiteHasAKeyOfItsOwn) {
  const PassContext a{nullptr, 1, true, 0.1F, 5, true}, b{nullptr, 1, true, 0.1F, 6, true};
  std::vector<std::uint64_t> keys;
  for (const std::uint64_t block : {0U, 1U, 2U, 1000U, 1001U, 1000000U}) {
    for (std::uint64_t site = 0; site < 6; ++site) {
      keys.push_back(a.site(block, site).key);
      keys.push_back(b.site(block, site).key);
      EXPECT_EQ(a.site(block, site).rate, 0.1F);
    }
  }
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(std::adjacent_find(keys.begin(), keys.end()), keys.end());
}

TEST(ParameterSpans, APartOfASpanWithoutGradientsHasNone) {
  std::vector<at::Tensor> values{at::ones({1}), at::ones({2}), at::ones({3})}, gradients = values;
  const ParameterSpan forward{values, {}}, backward{values, gradients};
  EXPECT_EQ(forward.part({1, 2}).values[1].numel(), 3);
  EXPECT_TRUE(forward.part({1, 2}).gradients.empty());
  EXPECT_EQ(backward.part({1, 2}).gradients.size(), 2U);
  EXPECT_EQ(backward.part({1, 2}).gradients[0].numel(), 2);
}

}  // namespace
}  // namespace th::model
