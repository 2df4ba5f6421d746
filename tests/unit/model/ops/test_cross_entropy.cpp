#include <gtest/gtest.h>

#include "th/model/ops/host_ops.hpp"
#include "unit/model/tensors.hpp"

#include <cmath>

namespace th::model {
namespace {

using test::data;
using test::leaf;
using test::loss_of;
using test::normal;
using test::relative_error;

/// Labels 1 .. V-1 with every fourth row padding.
at::Tensor labels_of(std::int64_t rows, std::int64_t vocabulary) {
  at::Tensor labels = at::empty({rows}, at::kLong);
  for (std::int64_t m = 0; m < rows; ++m)
    labels.data_ptr<std::int64_t>()[m] = m % 4 == 3 ? 0 : 1 + m * 7 % (vocabulary - 1);
  return labels;
}

at::Tensor oracle(const at::Tensor& logits, const at::Tensor& labels, double smoothing) {
  return at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum, 0, smoothing);
}

TEST(CrossEntropy, LossAgreesWithLibTorch) {
  for (const std::int64_t vocabulary : {2, 5, 16, 37, 1000}) {
    for (const double smoothing : {0.0, 0.1, 0.5}) {
      at::Tensor logits = normal({30, vocabulary}, 1) * 3;
      const at::Tensor labels = labels_of(30, vocabulary);
      const double want = oracle(logits.to(at::kDouble), labels, smoothing).item<double>();
      const double got = loss_of(op::CrossEntropy<float>{.logits = data(logits),
                                                         .labels = labels.data_ptr<std::int64_t>(),
                                                         .rows = 30,
                                                         .vocabulary = vocabulary,
                                                         .smoothing = static_cast<float>(smoothing),
                                                         .g_scale = 0.0F});
      // fp32 terms of size up to 20 (6e-8 relative each), 23 rows added in fp64; smoothing as fp32
      // is off by 2e-9.
      EXPECT_NEAR(got, want, 2e-6 * std::abs(want) + 1e-6) << vocabulary << " " << smoothing;
    }
  }
}

TEST(CrossEntropy, GradientAgreesWithLibTorch) {
  for (const std::int64_t vocabulary : {2, 5, 16, 37, 1000}) {
    for (const double smoothing : {0.0, 0.1, 0.5}) {
      at::Tensor logits = normal({30, vocabulary}, 2) * 3;
      const at::Tensor labels = labels_of(30, vocabulary), double_logits = leaf(logits);
      (oracle(double_logits, labels, smoothing) * 0.25).backward();
      (void)loss_of(op::CrossEntropy<float>{.logits = data(logits),
                                            .labels = labels.data_ptr<std::int64_t>(),
                                            .rows = 30,
                                            .vocabulary = vocabulary,
                                            .smoothing = static_cast<float>(smoothing),
                                            .g_scale = 0.25F});
      EXPECT_LT(relative_error(logits, double_logits.grad()), 1e-6)
          << vocabulary << " " << smoothing;  // fp32, about ten roundings
    }
  }
}

TEST(CrossEntropy, AskingForTheGradientDoesNotChangeTheLoss) {
  at::Tensor a = normal({8, 50}, 3), b = a.clone();
  const at::Tensor labels = labels_of(8, 50);
  EXPECT_EQ(loss_of(op::CrossEntropy<float>{.logits = data(a),
                                            .labels = labels.data_ptr<std::int64_t>(),
                                            .rows = 8,
                                            .vocabulary = 50,
                                            .smoothing = 0.1F,
                                            .g_scale = 0.0F}),
            loss_of(op::CrossEntropy<float>{.logits = data(b),
                                            .labels = labels.data_ptr<std::int64_t>(),
                                            .rows = 8,
                                            .vocabulary = 50,
                                            .smoothing = 0.1F,
                                            .g_scale = 3.0F}));
}

TEST(CrossEntropy, PaddingRowsCountNothingAndGetNoGradient) {
  at::Tensor logits = normal({4, 9}, 4);
  logits[2].fill_(NAN);
  const at::Tensor labels = at::tensor({0, 3, 0, 0}, at::kLong);
  const double want =
      oracle(logits.narrow(0, 1, 1).to(at::kDouble), labels.narrow(0, 1, 1), 0.0).item<double>();
  EXPECT_NEAR(loss_of(op::CrossEntropy<float>{.logits = data(logits),
                                              .labels = labels.data_ptr<std::int64_t>(),
                                              .rows = 4,
                                              .vocabulary = 9,
                                              .smoothing = 0.0F,
                                              .g_scale = 1.0F}),
              want,
              1e-6);  // one fp32 row
  for (const std::int64_t row : {0, 2, 3}) EXPECT_TRUE(logits[row].eq(0).all().item<bool>()) << row;
}

TEST(CrossEntropy, PaddingAloneHasLossZero) {
  at::Tensor logits = normal({3, 9}, 5);
  const at::Tensor labels = at::zeros({3}, at::kLong);
  EXPECT_EQ(loss_of(op::CrossEntropy<float>{.logits = data(logits),
                                            .labels = labels.data_ptr<std::int64_t>(),
                                            .rows = 3,
                                            .vocabulary = 9,
                                            .smoothing = 0.1F,
                                            .g_scale = 1.0F}),
            0.0);
}

TEST(CrossEntropy, EqualLogitsGiveTheLogarithmOfTheVocabulary) {
  at::Tensor logits = at::full({1, 1000}, 7.0F);
  const at::Tensor labels = at::tensor({5}, at::kLong);
  EXPECT_NEAR(loss_of(op::CrossEntropy<float>{.logits = data(logits),
                                              .labels = labels.data_ptr<std::int64_t>(),
                                              .rows = 1,
                                              .vocabulary = 1000,
                                              .smoothing = 0.0F,
                                              .g_scale = 0.0F}),
              std::log(1000.0), 1e-6);  // fp32 sum
}

TEST(CrossEntropy, LargeLogitsStayFinite) {
  at::Tensor logits = at::tensor({1e4F, -1e4F, 0.0F}).view({1, 3});
  const at::Tensor labels = at::tensor({1}, at::kLong);
  EXPECT_NEAR(loss_of(op::CrossEntropy<float>{.logits = data(logits),
                                              .labels = labels.data_ptr<std::int64_t>(),
                                              .rows = 1,
                                              .vocabulary = 3,
                                              .smoothing = 0.0F,
                                              .g_scale = 1.0F}),
              2e4,
              1e-2);  // an ulp of 2e4 is 2e-3
  EXPECT_NEAR(data(logits)[0], 1.0F, 1e-6F);
  EXPECT_NEAR(data(logits)[1], -1.0F, 1e-6F);
}

TEST(CrossEntropy, ANotFiniteLogitShowsInTheLoss) {
  at::Tensor logits = normal({2, 9}, 6);
  data(logits)[4] = NAN;
  const at::Tensor labels = at::tensor({1, 2}, at::kLong);
  EXPECT_FALSE(
      std::isfinite(loss_of(op::CrossEntropy<float>{.logits = data(logits),
                                                    .labels = labels.data_ptr<std::int64_t>(),
                                                    .rows = 2,
                                                    .vocabulary = 9,
                                                    .smoothing = 0.0F,
                                                    .g_scale = 1.0F})));
}

TEST(CrossEntropy, EachRowsGradientSumsToZero) {
  at::Tensor logits = normal({6, 100}, 7);
  const at::Tensor labels = labels_of(6, 100);
  (void)loss_of(op::CrossEntropy<float>{.logits = data(logits),
                                        .labels = labels.data_ptr<std::int64_t>(),
                                        .rows = 6,
                                        .vocabulary = 100,
                                        .smoothing = 0.1F,
                                        .g_scale = 1.0F});
  EXPECT_LT(logits.to(at::kDouble).sum(1).abs().max().item<double>(),
            1e-6);  // 100 fp32 terms that add to at most 2 in size
}

}  // namespace
}  // namespace th::model
