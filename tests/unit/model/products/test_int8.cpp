// Linear layers in int8: against the same arithmetic in whole numbers, and each row alone.
#include <gtest/gtest.h>

#include "th/base/error.hpp"
#include "th/model/products/gemm.hpp"
#include "unit/model/tensors.hpp"

#include <cmath>
#include <limits>

namespace th::model {
namespace {

using test::normal;
using test::relative_error;
using test::same_bits;

class Int8 : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_int8_products()) GTEST_SKIP() << "the processor has no AVX-512 with VNNI";
  }
  [[nodiscard]] static Gemm gemm() { return Gemm(GemmLibrary::kMkl).quantized(); }
};

/// Rows rounded to multiples of their largest magnitude / 127.
at::Tensor rounded_rows(const at::Tensor& x, at::Tensor& scale) {
  scale = x.abs().amax(1, true).to(at::kDouble) / 127;
  const at::Tensor safe = scale.clamp_min(std::numeric_limits<double>::min());
  return (x.to(at::kDouble) / safe).round();
}

TEST_F(Int8, IsTheProductOfRowsRoundedTo127Steps) {
  for (const auto& [m, k, n] : {std::array{1L, 1L, 1L},
                                {3L, 17L, 5L},
                                {33L, 300L, 64L},
                                {6L, 64L, 7L},
                                {70L, 2048L, 31L}}) {
    const at::Tensor x = normal({m, k}, 1), weight = normal({n, k}, 2), bias = normal({n}, 3);
    at::Tensor x_scale, weight_scale;
    const at::Tensor whole =
        at::mm(rounded_rows(x, x_scale), rounded_rows(weight, weight_scale).t());
    const at::Tensor want = whole * x_scale * weight_scale.t() + bias;
    const at::Tensor y = gemm().forward(x, weight, bias);
    // One step of an element more or less, where fp32 rounds a half the other way.
    EXPECT_LT(relative_error(y, want), 0.02) << m << " " << k << " " << n;
    EXPECT_LT((y - want).abs().mean().item<double>(), 1e-3 * std::sqrt(static_cast<double>(k)));
  }
}

TEST_F(Int8, ErrsByAFewThousandthsOfTheProduct) {
  const at::Tensor x = normal({64, 512}, 1), weight = normal({256, 512}, 2);
  const at::Tensor want = at::mm(x.to(at::kDouble), weight.to(at::kDouble).t());
  const at::Tensor error = gemm().forward(x, weight) - want;
  const double share = (error.norm() / want.norm()).item<double>();
  EXPECT_LT(share, 0.02);
  EXPECT_GT(share, 1e-4) << "this is no product in int8";
}

TEST_F(Int8, ARowIsTheSameBitsAloneAndBesideOthers) {
  const Gemm all = gemm();
  const at::Tensor x = normal({41, 96}, 1), weight = normal({67, 96}, 2), bias = normal({67}, 3);
  const at::Tensor want = all.forward(x, weight, bias);
  for (std::int64_t row = 0; row < x.size(0); ++row)
    EXPECT_TRUE(same_bits(all.forward(x.narrow(0, row, 1), weight, bias), want.narrow(0, row, 1)));
  EXPECT_TRUE(same_bits(all.forward(x.narrow(0, 7, 18), weight, bias), want.narrow(0, 7, 18)));
}

TEST_F(Int8, RowsOfZerosAndExtremesAreExact) {
  at::Tensor x = at::zeros({3, 70}), weight = at::zeros({5, 70});
  x[1].fill_(-3.0F);
  x[2].fill_(1e-30F);
  weight[1].fill_(2.0F);
  weight[2].fill_(-2.0F);
  const at::Tensor y = gemm().forward(x, weight);
  EXPECT_EQ(y.select(0, 0).abs().max().item<float>(), 0.0F);
  EXPECT_NEAR(y[1][1].item<float>(), -420.0F, 1e-3);
  EXPECT_NEAR(y[1][2].item<float>(), 420.0F, 1e-3);
  EXPECT_EQ(y[1][3].item<float>(), 0.0F);
}

TEST_F(Int8, WhatIsNotFiniteShowsInItsRowAlone) {
  at::Tensor x = normal({3, 70}, 1);
  const at::Tensor weight = normal({5, 70}, 2);
  x[1][4] = std::numeric_limits<float>::infinity();
  const at::Tensor y = gemm().forward(x, weight);
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
  EXPECT_TRUE(y[0].isfinite().all().item<bool>());
  EXPECT_TRUE(y[2].isfinite().all().item<bool>());
}

}  // namespace
}  // namespace th::model
