// Row kernels against LibTorch in fp64. Unless said otherwise a tolerance is for fp32 with about 10
// roundings of 2^-24 = 6e-8 a result.
#include <gtest/gtest.h>

#include "th/model/ops/host_ops.hpp"
#include "unit/model/tensors.hpp"

#include <array>
#include <cmath>
#include <vector>

namespace th::model {
namespace {

using test::data;
using test::leaf;
using test::normal;
using test::relative_error;
using test::same_bits;

constexpr double kKernelTolerance = 1e-6;
constexpr std::int64_t kWidths[] = {1, 2, 7, 15, 16, 17, 33, 64, 512};

TEST(LayerNorm, ForwardAgreesWithLibTorch) {
  for (const std::int64_t d : kWidths) {
    const at::Tensor x = normal({9, d}, 1) * 3 + 5, gamma = normal({d}, 2), beta = normal({d}, 3);
    at::Tensor y = at::empty({9, d}), mean = at::empty({9}), rstd = at::empty({9});
    compute(op::LayerNorm<float>{.x = data(x),
                                 .gamma = data(gamma),
                                 .beta = data(beta),
                                 .y = data(y),
                                 .mean = data(mean),
                                 .rstd = data(rstd),
                                 .rows = 9,
                                 .columns = d});
    EXPECT_LT(relative_error(y, at::layer_norm(x.to(at::kDouble), {d}, gamma.to(at::kDouble),
                                               beta.to(at::kDouble), 1e-5)),
              5e-6)
        << d;
    EXPECT_LT(relative_error(mean, x.to(at::kDouble).mean(1)), kKernelTolerance) << d;
    EXPECT_LT(relative_error(rstd, (x.to(at::kDouble).var(1, false) + 1e-5).rsqrt()), 5e-6)
        << d;  // x - mean loses 2 bits at mean 5
  }
}

TEST(LayerNorm, ALargeMeanDoesNotSpoilTheVariance) {
  const at::Tensor x = normal({4, 64}, 4) + 1000, one = at::ones({64}), zero = at::zeros({64});
  at::Tensor y = at::empty({4, 64}), mean = at::empty({4}), rstd = at::empty({4});
  compute(op::LayerNorm<float>{.x = data(x),
                               .gamma = data(one),
                               .beta = data(zero),
                               .y = data(y),
                               .mean = data(mean),
                               .rstd = data(rstd),
                               .rows = 4,
                               .columns = 64});
  // The mean is off by up to an ulp of 1000 (6e-5): a one-pass variance in fp32 would be off by far
  // more.
  EXPECT_LT(relative_error(y, at::layer_norm(x.to(at::kDouble), {64}, {}, {}, 1e-5)), 2e-4);
}

TEST(LayerNorm, BackwardAgreesWithLibTorch) {
  for (const std::int64_t d : kWidths) {
    const at::Tensor x = normal({9, d}, 5), gamma = normal({d}, 6), beta = normal({d}, 7),
                     g = normal({9, d}, 8);
    at::Tensor y = at::empty({9, d}), mean = at::empty({9}), rstd = at::empty({9}),
               g_x = at::empty({9, d});
    at::Tensor g_gamma = normal({d}, 9), g_beta = normal({d}, 10);
    const at::Tensor gamma_before = g_gamma.clone(), beta_before = g_beta.clone();
    compute(op::LayerNorm<float>{.x = data(x),
                                 .gamma = data(gamma),
                                 .beta = data(beta),
                                 .y = data(y),
                                 .mean = data(mean),
                                 .rstd = data(rstd),
                                 .rows = 9,
                                 .columns = d});
    compute(op::LayerNormBackward<float>{.g = data(g),
                                         .x = data(x),
                                         .gamma = data(gamma),
                                         .mean = data(mean),
                                         .rstd = data(rstd),
                                         .g_x = data(g_x),
                                         .g_gamma = data(g_gamma),
                                         .g_beta = data(g_beta),
                                         .rows = 9,
                                         .columns = d});
    const at::Tensor xd = leaf(x), gammad = leaf(gamma), betad = leaf(beta);
    at::layer_norm(xd, {d}, gammad, betad, 1e-5).backward(g.to(at::kDouble));
    // In few columns the terms of g_x cancel (they add to 0 in one column): the error is judged by
    // the terms' size.
    const double term = (rstd.unsqueeze(1) * g * gamma).abs().max().item<double>();
    EXPECT_LT((g_x.to(at::kDouble) - xd.grad()).abs().max().item<double>(), kKernelTolerance * term)
        << d;
    EXPECT_LT(relative_error(g_gamma, gamma_before.to(at::kDouble) + gammad.grad()), 2e-6)
        << d << ": gradients are added to what is there";
    EXPECT_LT(relative_error(g_beta, beta_before.to(at::kDouble) + betad.grad()), kKernelTolerance)
        << d;
  }
}

at::Tensor allowed(std::int64_t queries, std::int64_t keys,
                   const std::vector<std::int32_t>& lengths, runtime::ScoreRule rule) {
  at::Tensor mask = at::zeros({std::ssize(lengths), 1, queries, keys}, at::kBool);
  for (std::int64_t b = 0; b < std::ssize(lengths); ++b) {
    for (std::int64_t t = 0; t < queries; ++t) {
      for (std::int64_t s = 0; s < keys; ++s) {
        mask.data_ptr<bool>()[(b * queries + t) * keys + s] =
            test::sees(rule, t, s, lengths[static_cast<std::size_t>(b)]);
      }
    }
  }
  return mask;
}

TEST(MaskedSoftmax, AgreesWithLibTorchUnderEveryMask) {
  for (const std::int64_t keys : {1, 2, 5, 16, 17, 40}) {
    for (const runtime::ScoreRule rule : {test::kFull, test::kCausal}) {
      for (const bool padded : {false, true}) {
        std::vector<std::int32_t> lengths(3, static_cast<std::int32_t>(keys));
        if (padded)
          lengths = {static_cast<std::int32_t>(keys), static_cast<std::int32_t>((keys + 1) / 2), 1};
        at::Tensor scores = normal({3, 2, keys, keys}, 20) * 4;
        const at::Tensor before = scores.clone();
        compute(op::MaskedSoftmax<float>{.scores = data(scores),
                                         .key_lengths = padded ? lengths.data() : nullptr,
                                         .rule = rule,
                                         .batch = 3,
                                         .heads = 2,
                                         .queries = keys,
                                         .keys = keys});
        const at::Tensor masked =
            before.to(at::kDouble)
                .masked_fill(allowed(keys, keys, lengths, rule).logical_not(), -INFINITY);
        EXPECT_LT(relative_error(scores, at::softmax(masked, -1)), kKernelTolerance)
            << keys << " keys, rule " << static_cast<int>(rule.kind) << (padded ? ", padded" : "");
        EXPECT_LT((scores.to(at::kDouble).sum(-1) - 1).abs().max().item<double>(),
                  kKernelTolerance);
      }
    }
  }
}

TEST(MaskedSoftmax, MaskedKeysAreExactlyZero) {
  const std::vector<std::int32_t> lengths{3, 7};
  at::Tensor scores = normal({2, 3, 7, 7}, 21);
  compute(op::MaskedSoftmax<float>{.scores = data(scores),
                                   .key_lengths = lengths.data(),
                                   .rule = test::kCausal,
                                   .batch = 2,
                                   .heads = 3,
                                   .queries = 7,
                                   .keys = 7});
  const at::Tensor outside =
      allowed(7, 7, lengths, test::kCausal).logical_not().expand({2, 3, 7, 7});
  EXPECT_TRUE(scores.masked_select(outside).eq(0).all().item<bool>());
  EXPECT_TRUE(scores.masked_select(outside.logical_not()).gt(0).all().item<bool>());
}

TEST(MaskedSoftmax, MaskedScoresHaveNoInfluence) {
  const std::vector<std::int32_t> lengths{3};
  at::Tensor a = normal({1, 1, 2, 6}, 22), b = a.clone();
  b.narrow(3, 3, 3).fill_(NAN);
  compute(op::MaskedSoftmax<float>{.scores = data(a),
                                   .key_lengths = lengths.data(),
                                   .batch = 1,
                                   .heads = 1,
                                   .queries = 2,
                                   .keys = 6});
  compute(op::MaskedSoftmax<float>{.scores = data(b),
                                   .key_lengths = lengths.data(),
                                   .batch = 1,
                                   .heads = 1,
                                   .queries = 2,
                                   .keys = 6});
  EXPECT_TRUE(same_bits(a, b));
}

TEST(MaskedSoftmax, AFullyMaskedRowIsZeroAndNotNan) {
  const std::vector<std::int32_t> lengths{0, 4};
  for (const runtime::ScoreRule rule : {test::kFull, test::kCausal}) {
    at::Tensor scores = normal({2, 2, 4, 4}, 23);
    compute(op::MaskedSoftmax<float>{.scores = data(scores),
                                     .key_lengths = lengths.data(),
                                     .rule = rule,
                                     .batch = 2,
                                     .heads = 2,
                                     .queries = 4,
                                     .keys = 4});
    EXPECT_TRUE(scores.select(0, 0).eq(0).all().item<bool>());
    EXPECT_TRUE(scores.isfinite().all().item<bool>());
    at::Tensor g = normal({2, 2, 4, 4}, 24);
    compute(
        op::SoftmaxDropoutBackward<float>{.p = data(scores), .g = data(g), .rows = 16, .keys = 4});
    EXPECT_TRUE(g.select(0, 0).eq(0).all().item<bool>());
  }
}

TEST(MaskedSoftmax, LargeScoresNeitherOverflowNorVanish) {
  at::Tensor scores = at::tensor({1e30F, -1e30F, 1e30F, 3e4F, 3e4F, 3e4F - 1}).view({1, 1, 2, 3});
  const at::Tensor want = at::softmax(scores.to(at::kDouble), -1);
  compute(op::MaskedSoftmax<float>{
      .scores = data(scores), .batch = 1, .heads = 1, .queries = 2, .keys = 3});
  EXPECT_LT(relative_error(scores, want), kKernelTolerance);
}

TEST(MaskedSoftmax, SmallProbabilitiesKeepTheirRelativePrecision) {
  const std::int64_t rows = 8000;
  at::Tensor scores = at::zeros({1, 1, rows, 2});
  for (std::int64_t r = 0; r < rows; ++r)
    data(scores)[2 * r + 1] = -0.01F * static_cast<float>(r);  // down to -80
  const at::Tensor want = at::softmax(scores.to(at::kDouble), -1);
  compute(op::MaskedSoftmax<float>{
      .scores = data(scores), .batch = 1, .heads = 1, .queries = rows, .keys = 2});
  // exp within an ulp (1.2e-7 relative), then a sum, a reciprocal and a product of 6e-8 each.
  EXPECT_LT(((scores.to(at::kDouble) - want) / want).abs().max().item<double>(), 3.6e-7);
}

TEST(SoftmaxBackward, AgreesWithLibTorchWithoutDropout) {
  for (const std::int64_t keys : {1, 3, 16, 21}) {
    const at::Tensor p = at::softmax(normal({10, keys}, 25), -1);
    at::Tensor g = normal({10, keys}, 26);
    const at::Tensor want =
        at::_softmax_backward_data(g.to(at::kDouble), p.to(at::kDouble), -1, at::kDouble);
    compute(
        op::SoftmaxDropoutBackward<float>{.p = data(p), .g = data(g), .rows = 10, .keys = keys});
    EXPECT_LT((g.to(at::kDouble) - want).abs().max().item<double>(), kKernelTolerance) << keys;
  }
}

constexpr std::array<std::int64_t, 3> kWholeOffsets{0, 5, 10};  // two sentences of 5

TEST(Heads, SplitIsLibTorchsPermutationTimesTheScale) {
  const at::Tensor packed = normal({2 * 5, 3 * 12}, 30);
  for (const std::int64_t column : {0, 12, 24}) {
    at::Tensor out = at::empty({2, 3, 5, 4});
    compute(op::SplitHeads<float>{.x = data(packed) + column,
                                  .offsets = kWholeOffsets.data(),
                                  .out = data(out),
                                  .batch = 2,
                                  .length = 5,
                                  .heads = 3,
                                  .width = 4,
                                  .stride = 36,
                                  .scale = 0.5F});
    const at::Tensor want =
        packed.narrow(1, column, 12).reshape({2, 5, 3, 4}).permute({0, 2, 1, 3}) * 0.5;
    EXPECT_TRUE(same_bits(out, want));  // a power of two: exact
  }
}

TEST(Heads, MergeUndoesSplitAndLeavesOtherColumnsAlone) {
  const at::Tensor packed = normal({2 * 5, 36}, 31);
  at::Tensor heads = at::empty({2, 3, 5, 4}), back = at::full({10, 36}, -9.0F);
  compute(op::SplitHeads<float>{.x = data(packed) + 12,
                                .offsets = kWholeOffsets.data(),
                                .out = data(heads),
                                .batch = 2,
                                .length = 5,
                                .heads = 3,
                                .width = 4,
                                .stride = 36,
                                .scale = 1.0F});
  compute(op::MergeHeads<float>{.h = data(heads),
                                .offsets = kWholeOffsets.data(),
                                .x = data(back) + 12,
                                .batch = 2,
                                .length = 5,
                                .heads = 3,
                                .width = 4,
                                .stride = 36,
                                .scale = 1.0F});
  EXPECT_TRUE(same_bits(back.narrow(1, 12, 12), packed.narrow(1, 12, 12)));
  EXPECT_TRUE(back.narrow(1, 0, 12).eq(-9).all().item<bool>());
  EXPECT_TRUE(back.narrow(1, 24, 12).eq(-9).all().item<bool>());
}

TEST(Heads, ShortSentencesAreFollowedByZerosAndMergeLeavesThemOut) {
  const std::vector<std::int64_t> offsets{0, 2, 2, 6};
  const at::Tensor packed = normal({6, 12}, 35);
  at::Tensor heads = at::full({3, 3, 5, 4}, 7.0F), back = at::full({6, 12}, -9.0F);
  compute(op::SplitHeads<float>{.x = data(packed),
                                .offsets = offsets.data(),
                                .out = data(heads),
                                .batch = 3,
                                .length = 5,
                                .heads = 3,
                                .width = 4,
                                .stride = 12,
                                .scale = 1.0F});
  for (std::int64_t b = 0; b < 3; ++b) {
    const std::int64_t first = offsets[static_cast<std::size_t>(b)],
                       real = offsets[static_cast<std::size_t>(b) + 1] - first;
    EXPECT_TRUE(same_bits(heads[b].narrow(1, 0, real),
                          packed.narrow(0, first, real).reshape({real, 3, 4}).permute({1, 0, 2})))
        << b;
    EXPECT_TRUE(heads[b].narrow(1, real, 5 - real).eq(0).all().item<bool>()) << b;
  }
  compute(op::MergeHeads<float>{.h = data(heads),
                                .offsets = offsets.data(),
                                .x = data(back),
                                .batch = 3,
                                .length = 5,
                                .heads = 3,
                                .width = 4,
                                .stride = 12,
                                .scale = 1.0F});
  EXPECT_TRUE(same_bits(back, packed));
}

TEST(Embedding, ForwardIsScaledRowPlusPosition) {
  const at::Tensor weight = normal({11, 7}, 32), position = normal({3, 7}, 33);
  const at::Tensor ids = at::tensor({4, 0, 10, 10, 2, 1}, at::kLong);
  at::Tensor y = at::empty({6, 7});
  const std::vector<std::int32_t> places{0, 1, 2, 0, 1, 2};
  compute(op::Embed<float>{.weight = data(weight),
                           .ids = ids.data_ptr<std::int64_t>(),
                           .position = data(position),
                           .places = places.data(),
                           .y = data(y),
                           .rows = 6,
                           .width = 7,
                           .scale = 1.75F});
  EXPECT_TRUE(same_bits(y, weight.index_select(0, ids) * 1.75 + position.repeat({2, 1})));
}

TEST(Embedding, BackwardAddsRowsInOrderAndLeavesPaddingOut) {
  const at::Tensor g = normal({6, 7}, 34), ids = at::tensor({4, 0, 10, 10, 2, 4}, at::kLong);
  at::Tensor g_weight = at::zeros({11, 7});
  compute(op::EmbedBackward<float>{.g = data(g),
                                   .ids = ids.data_ptr<std::int64_t>(),
                                   .g_weight = data(g_weight),
                                   .rows = 6,
                                   .width = 7,
                                   .scale = 1.75F});
  const at::Tensor want = at::embedding_dense_backward(g.to(at::kDouble), ids, 11, 0, false) * 1.75;
  EXPECT_LT(relative_error(g_weight, want), kKernelTolerance);
}

TEST(Embedding, BackwardAddsToWhatIsThere) {
  const at::Tensor g = normal({2, 5}, 35), ids = at::tensor({3, 3}, at::kLong);
  at::Tensor g_weight = at::full({4, 5}, 2.0F);
  compute(op::EmbedBackward<float>{.g = data(g),
                                   .ids = ids.data_ptr<std::int64_t>(),
                                   .g_weight = data(g_weight),
                                   .rows = 2,
                                   .width = 5,
                                   .scale = 1.0F});
  EXPECT_LT(relative_error(g_weight[3], g.to(at::kDouble).sum(0) + 2), kKernelTolerance);
  EXPECT_TRUE(g_weight.narrow(0, 0, 3).eq(2).all().item<bool>());
}

TEST(ColumnSums, AreSumsOverRowsAndAddedToWhatIsThere) {
  for (const std::int64_t d : kWidths) {
    const at::Tensor x = normal({13, d}, 36), y = normal({13, d}, 37);
    at::Tensor sums = normal({d}, 38), total = x.clone();
    const at::Tensor before = sums.clone();
    compute(op::AddColumnSums<float>{.x = data(x), .out = data(sums), .rows = 13, .columns = d});
    EXPECT_LT(relative_error(sums, before.to(at::kDouble) + x.to(at::kDouble).sum(0)), 2e-6)
        << d;  // 13 additions
    compute(op::AddTo<float>{.y = data(total), .x = data(y), .count = total.numel()});
    EXPECT_TRUE(same_bits(total, x + y)) << d;
  }
}

TEST(Relu, ForwardAndBackwardAgreeWithLibTorch) {
  const at::Tensor x = normal({9, 33}, 39), bias = normal({33}, 40), g = normal({9, 33}, 41);
  at::Tensor h = x.clone(), g_h = g.clone();
  compute(op::BiasReluDropout<float>{.h = data(h), .bias = data(bias), .rows = 9, .columns = 33});
  EXPECT_TRUE(same_bits(h, at::relu(x + bias)));
  compute(op::ReluDropoutBackward<float>{.h = data(h), .g = data(g_h), .count = h.numel()});
  EXPECT_TRUE(same_bits(g_h, at::threshold_backward(g, h, 0)));
}

TEST(Relu, ANanIsNotHidden) {
  at::Tensor h = at::tensor({NAN, 1.0F});
  const at::Tensor bias = at::zeros({2});
  compute(op::BiasReluDropout<float>{.h = data(h), .bias = data(bias), .rows = 1, .columns = 2});
  EXPECT_TRUE(std::isnan(data(h)[0]));
}

}  // namespace
}  // namespace th::model
