#include <gtest/gtest.h>

#include "tensors.hpp"
#include "th/base/hash.hpp"
#include "th/model/ops/host_ops.hpp"

#include <cmath>

namespace th::model {
namespace {

using test::data;
using test::leaf;
using test::normal;
using test::relative_error;
using test::same_bits;

/// The factors, 0 or 1/(1-rate), that the site multiplies with.
at::Tensor factors(std::int64_t n, Dropout dropout) {
  const at::Tensor ones = at::ones({n});
  at::Tensor out = at::empty({n});
  compute(
      op::ApplyDropout<float>{.x = data(ones), .out = data(out), .count = n, .dropout = dropout});
  return out;
}

TEST(Dropout, KeepsTheRightShareForEveryKeyAndRate) {
  constexpr std::int64_t kCount = 1 << 18;
  for (const float rate : {0.05F, 0.1F, 0.3F, 0.5F, 0.9F}) {
    const double share = 1.0 - static_cast<double>(rate);
    const double sigma = std::sqrt(share * (1 - share) * kCount);
    for (std::uint64_t key = 0; key < 12; ++key) {
      const double kept =
          static_cast<double>(factors(kCount, {key, rate}).count_nonzero().item<std::int64_t>());
      EXPECT_LT(std::abs(kept - share * kCount), 4 * sigma) << "rate " << rate << " key " << key;
    }
  }
}

TEST(Dropout, KeptElementsAreScaledAndOthersAreZero) {
  const at::Tensor f = factors(1000, {5, 0.1F});
  const float scale = 1.0F / (1.0F - 0.1F);
  EXPECT_TRUE(f.eq(0).logical_or(f.eq(scale)).all().item<bool>());
}

TEST(Dropout, RateZeroIsTheIdentity) {
  const at::Tensor x = normal({1000}, 1);
  at::Tensor y = at::empty({1000});
  compute(
      op::ApplyDropout<float>{.x = data(x), .out = data(y), .count = 1000, .dropout = {7, 0.0F}});
  EXPECT_TRUE(same_bits(x, y));
  compute(
      op::ApplyDropout<float>{.x = data(x), .out = data(y), .count = 1000, .dropout = {7, 0.0F}});
  EXPECT_TRUE(same_bits(x, y));
}

TEST(Dropout, TheSameKeyIsTheSameMaskAndAnotherKeyAnother) {
  EXPECT_TRUE(same_bits(factors(4096, {1, 0.5F}), factors(4096, {1, 0.5F})));
  for (std::uint64_t key = 2; key < 40; ++key)
    EXPECT_FALSE(same_bits(factors(4096, {1, 0.5F}), factors(4096, {key, 0.5F}))) << key;
}

TEST(Dropout, ALongerBufferBeginsWithTheMaskOfAShorterOne) {
  EXPECT_TRUE(same_bits(factors(1000, {3, 0.3F}), factors(5000, {3, 0.3F}).narrow(0, 0, 1000)));
}

/// Share of positions where both are dropped, judged against independence within 4 sigma.
void expect_independent(const at::Tensor& a, const at::Tensor& b, double rate,
                        const std::string& what) {
  const double n = static_cast<double>(a.numel());
  const double both =
      static_cast<double>(a.eq(0).logical_and(b.eq(0)).count_nonzero().item<std::int64_t>());
  const double share = rate * rate;
  EXPECT_LT(std::abs(both - share * n), 4 * std::sqrt(share * (1 - share) * n)) << what;
}

TEST(Dropout, NeighboursAreIndependent) {
  constexpr std::int64_t kCount = 1 << 18;
  const at::Tensor f = factors(kCount, {11, 0.3F});
  for (const std::int64_t lag : {1, 2, 3, 8, 16, 64, 512, 2048}) {
    // Pairs at a lag overlap, but their joint counts are uncorrelated under independence but for 2
    // r^3(1-r) n: sigma is 1.4 times larger at most.
    expect_independent(f.narrow(0, 0, kCount - lag), f.narrow(0, lag, kCount - lag), 0.3,
                       "lag " + std::to_string(lag));
  }
}

TEST(Dropout, RelatedKeysAreIndependent) {
  constexpr std::int64_t kCount = 1 << 18;
  const at::Tensor f = factors(kCount, {1000, 0.3F});
  for (const std::uint64_t key : {std::uint64_t{0}, std::uint64_t{999}, std::uint64_t{1001},
                                  std::uint64_t{1000} << 32U, hash_pair(1000, 1)}) {
    expect_independent(f, factors(kCount, {key, 0.3F}), 0.3, "key " + std::to_string(key));
  }
}

TEST(Dropout, ResidualBackwardHasTheForwardMask) {
  const Dropout site{21, 0.4F};
  const at::Tensor x = normal({777}, 2), s = normal({777}, 3), g = normal({777}, 4),
                   f = factors(777, site);
  at::Tensor y = at::empty({777}), g_s = at::empty({777});
  compute(op::AddDropout<float>{
      .x = data(x), .s = data(s), .y = data(y), .count = 777, .dropout = site});
  EXPECT_TRUE(same_bits(y, x + s * f));
  compute(op::ApplyDropout<float>{.x = data(g), .out = data(g_s), .count = 777, .dropout = site});
  EXPECT_TRUE(same_bits(g_s, g * f));
}

TEST(Dropout, ResidualMayWriteOverItsInputs) {
  const Dropout site{22, 0.4F};
  const at::Tensor x = normal({100}, 5), s = normal({100}, 6);
  at::Tensor y = at::empty({100}), over_x = x.clone(), over_s = s.clone();
  compute(op::AddDropout<float>{
      .x = data(x), .s = data(s), .y = data(y), .count = 100, .dropout = site});
  compute(op::AddDropout<float>{
      .x = data(over_x), .s = data(s), .y = data(over_x), .count = 100, .dropout = site});
  compute(op::AddDropout<float>{
      .x = data(x), .s = data(over_s), .y = data(over_s), .count = 100, .dropout = site});
  EXPECT_TRUE(same_bits(y, over_x));
  EXPECT_TRUE(same_bits(y, over_s));
}

TEST(Dropout, ReluBackwardHasTheForwardMask) {
  const Dropout site{23, 0.4F};
  const at::Tensor x = normal({20, 33}, 7), bias = normal({33}, 8), g = normal({20, 33}, 9),
                   f = factors(660, site).view({20, 33});
  at::Tensor h = x.clone(), g_x = g.clone();
  compute(op::BiasReluDropout<float>{
      .h = data(h), .bias = data(bias), .rows = 20, .columns = 33, .dropout = site});
  EXPECT_TRUE(same_bits(h, at::relu(x + bias) * f));
  compute(
      op::ReluDropoutBackward<float>{.h = data(h), .g = data(g_x), .count = 660, .dropout = site});
  EXPECT_TRUE(at::equal(
      g_x, at::where((x + bias).gt(0), g * f,
                     at::zeros({}))));  // not bits: a dropped negative gradient is -0 here
}

TEST(Dropout, AttentionBackwardHasTheForwardMask) {
  const Dropout site{24, 0.4F};
  const at::Tensor p = at::softmax(normal({30, 17}, 10), -1), g = normal({30, 17}, 11),
                   f = factors(510, site).view({30, 17});
  at::Tensor dropped = at::empty({30, 17}), g_scores = g.clone();
  compute(
      op::ApplyDropout<float>{.x = data(p), .out = data(dropped), .count = 510, .dropout = site});
  EXPECT_TRUE(same_bits(dropped, p * f));
  compute(op::SoftmaxDropoutBackward<float>{
      .p = data(p), .g = data(g_scores), .rows = 30, .keys = 17, .dropout = site});
  const at::Tensor pd = p.to(at::kDouble);
  const at::Tensor want = at::_softmax_backward_data((g * f).to(at::kDouble), pd, -1, at::kDouble);
  EXPECT_LT(relative_error(g_scores, want), 1e-6);  // fp32, a 17-term sum
}

TEST(Dropout, EmbeddingBackwardHasTheForwardMask) {
  const Dropout site{25, 0.4F};
  const at::Tensor ids = at::tensor({3, 1, 4, 1, 5, 9}, at::kLong), weight = normal({10, 16}, 12),
                   zero = at::zeros({3, 16}), g = normal({6, 16}, 13);
  const at::Tensor f = factors(96, site).view({6, 16});
  at::Tensor y = at::empty({6, 16}), g_weight = at::zeros({10, 16});
  const std::vector<std::int32_t> places{0, 1, 2, 0, 1, 2};
  compute(op::Embed<float>{.weight = data(weight),
                           .ids = ids.data_ptr<std::int64_t>(),
                           .position = data(zero),
                           .places = places.data(),
                           .y = data(y),
                           .rows = 6,
                           .width = 16,
                           .scale = 2.0F,
                           .dropout = site});
  EXPECT_TRUE(same_bits(y, weight.index_select(0, ids) * 2 * f));
  compute(op::EmbedBackward<float>{.g = data(g),
                                   .ids = ids.data_ptr<std::int64_t>(),
                                   .g_weight = data(g_weight),
                                   .rows = 6,
                                   .width = 16,
                                   .scale = 2.0F,
                                   .dropout = site});
  const at::Tensor w = leaf(weight);
  (w.index_select(0, ids) * 2 * f.to(at::kDouble)).backward(g.to(at::kDouble));
  EXPECT_LT(relative_error(g_weight, w.grad()), 1e-6);  // fp32, at most two rows a word
}

TEST(Dropout, TheExpectedValueIsKept) {
  constexpr std::int64_t kCount = 1 << 20;
  const double mean = factors(kCount, {31, 0.1F}).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(
      mean, 1.0,
      4 * std::sqrt(0.1 / 0.9 / kCount));  // 4 sigma of the mean of a scaled Bernoulli variable
}

}  // namespace
}  // namespace th::model
