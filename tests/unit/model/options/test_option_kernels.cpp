// The ops of the model's options against LibTorch in fp64. Unless said otherwise a tolerance is for
// fp32 with about 10 roundings of 2^-24 = 6e-8 a result.
#include <gtest/gtest.h>

#include "unit/model/block_parameters.hpp"

#include <cmath>
#include <vector>

namespace th::model {
namespace {

using runtime::ActivationKind;
using test::data;
using test::leaf;
using test::normal;
using test::relative_error;
using test::same_bits;

constexpr double kOptionTolerance = 1e-6;

at::Tensor torch_activation(ActivationKind kind, const at::Tensor& z) {
  return kind == ActivationKind::kGelu ? at::gelu(z) : at::silu(z);
}

op::Activate<float> forward_of(const at::Tensor& z, const at::Tensor& up, const at::Tensor& y) {
  return {.z = data(z), .up = up.defined() ? data(up) : nullptr, .y = data(y), .count = y.numel()};
}

class Activations : public testing::TestWithParam<ActivationKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Activations,
                         testing::Values(ActivationKind::kGelu, ActivationKind::kSwish),
                         [](const auto& p) {
                           return std::string(p.param == ActivationKind::kGelu ? "gelu" : "swish");
                         });

/// Every value to a few roundings of itself, in the negative tail too, where it is tiny.
TEST_P(Activations, ValuesAgreeWithLibTorchOverTheWholeRange) {
  const at::Tensor z = at::linspace(-12, 12, 24001, at::kFloat);
  at::Tensor y = at::empty_like(z);
  op::Activate<float> o = forward_of(z, {}, y);
  o.kind = GetParam();
  compute(o);
  // LibTorch's gelu takes 1 + erf, which leaves nothing of the tail: erfc is the same function.
  const at::Tensor x = z.to(at::kDouble);
  const at::Tensor want =
      GetParam() == ActivationKind::kGelu ? x * 0.5 * at::erfc(-x / std::sqrt(2.0)) : at::silu(x);
  const at::Tensor error = (y.to(at::kDouble) - want).abs();
  // exp(-x^2 / 2) has the three roundings of its argument, 72 at -12: 72 * 1.8e-7 of itself.
  EXPECT_LT((error / (want.abs() + 1e-30)).max().item<double>(), 2e-5);
  EXPECT_LT((error / (want.abs() + 1e-3)).max().item<double>(), kOptionTolerance);
}

TEST_P(Activations, ExtremesStayWhatTheyShouldBe) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const at::Tensor z = at::tensor({0.0F, 1e30F, -1e30F, 100.0F, -100.0F, kInfinity, NAN});
  at::Tensor y = at::empty_like(z), g_z = at::ones_like(z);
  op::Activate<float> o = forward_of(z, {}, y);
  o.kind = GetParam();
  compute(o);
  compute(op::ActivateBackward<float>{
      .z = data(z), .g = data(g_z), .count = z.numel(), .kind = GetParam()});
  const float* value = data(y);
  const float* slope = data(g_z);
  EXPECT_EQ(value[0], 0.0F);
  EXPECT_EQ(value[1], 1e30F);
  EXPECT_LE(std::abs(value[4]), 1e-30F);
  EXPECT_EQ(value[3], 100.0F);
  EXPECT_EQ(value[5], kInfinity);
  EXPECT_TRUE(std::isnan(value[6])) << "what is not a number must not be hidden";
  EXPECT_EQ(slope[0], 0.5F);
  EXPECT_EQ(slope[3], 1.0F);
  EXPECT_LE(std::abs(slope[4]), 1e-30F);
}

TEST_P(Activations, ForwardAndBackwardAgreeWithAndWithoutAGateAndDropout) {
  for (const bool gated : {false, true}) {
    for (const float rate : {0.0F, 0.3F}) {
      const Dropout dropout{91, rate};
      const at::Tensor z = normal({9, 37}, 1) * 2, up = gated ? normal({9, 37}, 2) : at::Tensor(),
                       g = normal({9, 37}, 3);
      at::Tensor y = at::empty({9, 37}), g_z = g.clone(), g_up = at::empty({9, 37});
      op::Activate<float> o = forward_of(z, up, y);
      o.kind = GetParam();
      o.dropout = dropout;
      compute(o);
      compute(op::ActivateBackward<float>{.z = data(z),
                                          .up = gated ? data(up) : nullptr,
                                          .g = data(g_z),
                                          .g_up = gated ? data(g_up) : nullptr,
                                          .count = z.numel(),
                                          .kind = GetParam(),
                                          .dropout = dropout});
      const at::Tensor zd = leaf(z), upd = gated ? leaf(up) : at::Tensor();
      at::Tensor want = torch_activation(GetParam(), zd) * test::factors({9, 37}, dropout);
      if (gated) want = want * upd;
      want.backward(g.to(at::kDouble));
      EXPECT_LT(relative_error(y, want), kOptionTolerance) << gated << rate;
      EXPECT_LT(relative_error(g_z, zd.grad()), kOptionTolerance) << gated << rate;
      if (!gated) continue;
      EXPECT_LT(relative_error(g_up, upd.grad()), kOptionTolerance) << rate;
    }
  }
}

/// x / sqrt(mean(x^2) + eps) * gamma over the last dimension.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gamma, double eps) {
  return x * (x.square().mean(-1, true) + eps).rsqrt() * gamma;
}

TEST(RmsNorm, ForwardAndBackwardAgreeWithTheFormula) {
  for (const std::int64_t d : {1, 2, 7, 15, 16, 17, 33, 64, 512}) {
    for (const float eps : {1e-5F, 0.1F}) {
      const at::Tensor x = normal({9, d}, 1) * 3 + 1, gamma = normal({d}, 2), g = normal({9, d}, 3);
      at::Tensor y = at::empty({9, d}), rstd = at::empty({9}), g_x = at::empty({9, d}),
                 g_gamma = normal({d}, 4);
      const at::Tensor before = g_gamma.clone();
      compute(op::RmsNorm<float>{.x = data(x),
                                 .gamma = data(gamma),
                                 .y = data(y),
                                 .rstd = data(rstd),
                                 .rows = 9,
                                 .columns = d,
                                 .stride = d,
                                 .eps = eps});
      compute(op::RmsNormBackward<float>{.g = data(g),
                                         .x = data(x),
                                         .gamma = data(gamma),
                                         .rstd = data(rstd),
                                         .g_x = data(g_x),
                                         .g_gamma = data(g_gamma),
                                         .rows = 9,
                                         .columns = d,
                                         .stride = d});
      const at::Tensor xd = leaf(x), gammad = leaf(gamma);
      const at::Tensor want = rms_norm(xd, gammad, static_cast<double>(eps));
      want.backward(g.to(at::kDouble));
      EXPECT_LT(relative_error(y, want), kOptionTolerance) << d;
      // In one column the two terms of g_x cancel but for eps: the error is judged by their size.
      const double term = (rstd.unsqueeze(1) * g * gamma).abs().max().item<double>();
      EXPECT_LT((g_x.to(at::kDouble) - xd.grad()).abs().max().item<double>(),
                kOptionTolerance * term)
          << d;
      EXPECT_LT(relative_error(g_gamma, before.to(at::kDouble) + gammad.grad()), 2e-6) << d;
    }
  }
}

/// Two heads of the middle third of packed rows, in place, with what was there kept.
TEST(RmsNorm, GroupsOfColumnsInPlaceAreNormsOfTheirOwn) {
  const std::int64_t rows = 5, heads = 2, width = 7, stride = 3 * heads * width, at = heads * width;
  const at::Tensor packed = normal({rows, 3, heads, width}, 1), gamma = normal({width}, 2),
                   g = normal({rows, 3, heads, width}, 3);
  at::Tensor y = packed.clone(), kept = at::empty({rows, heads, width}),
             rstd = at::empty({rows, heads}), g_x = g.clone(), g_gamma = at::zeros({width});
  compute(op::RmsNorm<float>{.x = data(y) + at,
                             .gamma = data(gamma),
                             .y = data(y) + at,
                             .kept = data(kept),
                             .rstd = data(rstd),
                             .rows = rows,
                             .groups = heads,
                             .columns = width,
                             .stride = stride});
  compute(op::RmsNormBackward<float>{.g = data(g_x) + at,
                                     .x = data(kept),
                                     .gamma = data(gamma),
                                     .rstd = data(rstd),
                                     .g_x = data(g_x) + at,
                                     .g_gamma = data(g_gamma),
                                     .rows = rows,
                                     .groups = heads,
                                     .columns = width,
                                     .stride = stride});
  const at::Tensor x = leaf(packed.select(1, 1)), gammad = leaf(gamma);
  const at::Tensor want = rms_norm(x, gammad, 1e-5);
  want.backward(g.select(1, 1).to(at::kDouble));
  EXPECT_TRUE(same_bits(kept, packed.select(1, 1)));
  EXPECT_LT(relative_error(y.select(1, 1), want), kOptionTolerance);
  EXPECT_LT(relative_error(g_x.select(1, 1), x.grad()), kOptionTolerance);
  EXPECT_LT(relative_error(g_gamma, gammad.grad()), kOptionTolerance);
  for (const std::int64_t other : {0, 2}) {
    EXPECT_TRUE(same_bits(y.select(1, other), packed.select(1, other)));
    EXPECT_TRUE(same_bits(g_x.select(1, other), g.select(1, other)));
  }
}

TEST(LayerNorm, EpsIsThatOfTheOperands) {
  const at::Tensor x = normal({4, 32}, 1), gamma = normal({32}, 2), beta = normal({32}, 3);
  at::Tensor y = at::empty({4, 32}), mean = at::empty({4}), rstd = at::empty({4});
  compute(op::LayerNorm<float>{.x = data(x),
                               .gamma = data(gamma),
                               .beta = data(beta),
                               .y = data(y),
                               .mean = data(mean),
                               .rstd = data(rstd),
                               .rows = 4,
                               .columns = 32,
                               .eps = 0.5F});
  EXPECT_LT(relative_error(y, at::layer_norm(x.to(at::kDouble), {32}, gamma.to(at::kDouble),
                                             beta.to(at::kDouble), 0.5)),
            kOptionTolerance);
}

TEST(PositionsBackward, AddsEachSentencesRowsAtTheirPlaces) {
  const std::vector<std::int64_t> offsets{0, 3, 4, 9};
  const Dropout dropout{92, 0.3F};
  const at::Tensor g = normal({9, 6}, 1), factors = test::factors({9, 6}, dropout);
  at::Tensor table = normal({7, 6}, 2);
  const at::Tensor before = table.clone();
  compute(op::PositionsBackward<float>{.g = data(g),
                                       .offsets = offsets.data(),
                                       .g_position = data(table),
                                       .batch = 3,
                                       .length = 5,
                                       .width = 6,
                                       .dropout = dropout});
  at::Tensor want = before.to(at::kDouble);
  const at::Tensor dropped = g.to(at::kDouble) * factors;
  for (std::size_t b = 0; b < 3; ++b) {
    const std::int64_t length = offsets[b + 1] - offsets[b];
    want.narrow(0, 0, length).add_(dropped.narrow(0, offsets[b], length));
  }
  EXPECT_LT(relative_error(table, want), kOptionTolerance);
  EXPECT_TRUE(same_bits(table.narrow(0, 5, 2), before.narrow(0, 5, 2)));
}

TEST(Embed, RowsOfTheZeroIdArePositionsAloneAndHaveNoGradient) {
  const std::vector<std::int64_t> ids{2, 5, 2, 3};
  const std::vector<std::int32_t> places{0, 1, 2, 0};
  const at::Tensor weight = normal({6, 8}, 1), position = normal({3, 8}, 2), g = normal({4, 8}, 3);
  at::Tensor y = at::empty({4, 8}), g_weight = at::zeros({6, 8});
  compute(op::Embed<float>{.weight = data(weight),
                           .ids = ids.data(),
                           .position = data(position),
                           .places = places.data(),
                           .y = data(y),
                           .rows = 4,
                           .width = 8,
                           .scale = 3.0F,
                           .zero_id = 2});
  compute(op::EmbedBackward<float>{.g = data(g),
                                   .ids = ids.data(),
                                   .g_weight = data(g_weight),
                                   .rows = 4,
                                   .width = 8,
                                   .scale = 3.0F,
                                   .zero_id = 2});
  EXPECT_TRUE(at::equal(y[0], position[0]));
  EXPECT_TRUE(at::equal(y[2], position[2]));
  EXPECT_TRUE(at::equal(y[1], weight[5] * 3 + position[1]));
  EXPECT_TRUE(at::equal(g_weight[2], at::zeros({8})));
  EXPECT_TRUE(at::equal(g_weight[5], g[1] * 3));
  EXPECT_TRUE(at::equal(g_weight[3], g[3] * 3));
}

}  // namespace
}  // namespace th::model
