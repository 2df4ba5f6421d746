// A row's bits depend on the row alone: not on how many rows a call gets, where the buffer lies, or
// which rows stand beside it.
#include <gtest/gtest.h>

#include "th/model/ops/host_ops.hpp"
#include "unit/model/tensors.hpp"

#include <functional>
#include <vector>

namespace th::model {
namespace {

using test::data;
using test::loss_of;
using test::normal;
using test::same_bits;

constexpr std::int64_t kSplitRows = 24;

/// Calls `run(first, rows)` over several partitions of the rows; `result` holds what they wrote and
/// must stay the same.
void expect_independent_of_splits(const at::Tensor& result, const std::function<void()>& reset,
                                  const std::function<void(std::int64_t, std::int64_t)>& run) {
  reset();
  run(0, kSplitRows);
  const at::Tensor whole = result.clone();
  for (const std::vector<std::int64_t>& cuts :
       {std::vector<std::int64_t>{1}, {6}, {12}, {23}, {3, 9}, {6, 12, 18}, {1, 2, 3, 4, 5, 20}}) {
    reset();
    std::int64_t at = 0;
    for (const std::int64_t cut : cuts) {
      run(at, cut - at);
      at = cut;
    }
    run(at, kSplitRows - at);
    EXPECT_TRUE(same_bits(result, whole)) << cuts.size() << " cuts, the first at " << cuts[0];
  }
}

class RowSplits : public testing::TestWithParam<std::int64_t> {};

TEST_P(RowSplits, LayerNorm) {
  const std::int64_t d = GetParam();
  const at::Tensor x = normal({kSplitRows, d}, 1), gamma = normal({d}, 2), beta = normal({d}, 3);
  at::Tensor out = at::empty({kSplitRows * d + 2 * kSplitRows});
  float *y = data(out), *mean = y + kSplitRows * d, *rstd = mean + kSplitRows;
  expect_independent_of_splits(
      out, [&] { out.fill_(-1); },
      [&](std::int64_t first, std::int64_t rows) {
        compute(op::LayerNorm<float>{.x = data(x) + first * d,
                                     .gamma = data(gamma),
                                     .beta = data(beta),
                                     .y = y + first * d,
                                     .mean = mean + first,
                                     .rstd = rstd + first,
                                     .rows = rows,
                                     .columns = d});
      });
}

TEST_P(RowSplits, LayerNormBackwardWithItsSums) {
  const std::int64_t d = GetParam();
  const at::Tensor x = normal({kSplitRows, d}, 4), g = normal({kSplitRows, d}, 5),
                   gamma = normal({d}, 6), mean = normal({kSplitRows}, 7),
                   rstd = normal({kSplitRows}, 8);
  at::Tensor out = at::empty({kSplitRows * d + 2 * d});
  float *g_x = data(out), *g_gamma = g_x + kSplitRows * d, *g_beta = g_gamma + d;
  expect_independent_of_splits(
      out, [&] { out.fill_(0.1F); },
      [&](std::int64_t first, std::int64_t rows) {
        compute(op::LayerNormBackward<float>{.g = data(g) + first * d,
                                             .x = data(x) + first * d,
                                             .gamma = data(gamma),
                                             .mean = data(mean) + first,
                                             .rstd = data(rstd) + first,
                                             .g_x = g_x + first * d,
                                             .g_gamma = g_gamma,
                                             .g_beta = g_beta,
                                             .rows = rows,
                                             .columns = d});
      });
}

TEST_P(RowSplits, ColumnSumsAndBiases) {
  const std::int64_t d = GetParam();
  const at::Tensor x = normal({kSplitRows, d}, 9), bias = normal({d}, 10);
  at::Tensor sums = at::empty({d}), h = at::empty({kSplitRows, d});
  expect_independent_of_splits(
      sums, [&] { sums.fill_(0.1F); },
      [&](std::int64_t first, std::int64_t rows) {
        compute(op::AddColumnSums<float>{
            .x = data(x) + first * d, .out = data(sums), .rows = rows, .columns = d});
      });
  expect_independent_of_splits(
      h, [&] { h.copy_(x); },
      [&](std::int64_t first, std::int64_t rows) {
        compute(op::BiasReluDropout<float>{
            .h = data(h) + first * d, .bias = data(bias), .rows = rows, .columns = d});
      });
}

TEST_P(RowSplits, Softmax) {
  const std::int64_t keys = GetParam();
  const at::Tensor scores = normal({kSplitRows, 2, 3, keys}, 11);
  std::vector<std::int32_t> lengths;
  for (std::int64_t b = 0; b < kSplitRows; ++b)
    lengths.push_back(static_cast<std::int32_t>(1 + b % keys));
  at::Tensor p = at::empty_like(scores);
  for (const runtime::ScoreRule rule : {test::kFull, test::kCausal}) {
    expect_independent_of_splits(
        p, [&] { p.copy_(scores); },
        [&](std::int64_t first, std::int64_t rows) {
          compute(op::MaskedSoftmax<float>{.scores = data(p) + first * 6 * keys,
                                           .key_lengths = lengths.data() + first,
                                           .rule = rule,
                                           .batch = rows,
                                           .heads = 2,
                                           .queries = 3,
                                           .keys = keys});
        });
  }
}

TEST_P(RowSplits, SoftmaxBackward) {
  const std::int64_t keys = GetParam();
  const at::Tensor p = at::softmax(normal({kSplitRows, keys}, 12), -1),
                   g = normal({kSplitRows, keys}, 13);
  at::Tensor out = at::empty_like(g);
  expect_independent_of_splits(
      out, [&] { out.copy_(g); },
      [&](std::int64_t first, std::int64_t rows) {
        compute(op::SoftmaxDropoutBackward<float>{.p = data(p) + first * keys,
                                                  .g = data(out) + first * keys,
                                                  .rows = rows,
                                                  .keys = keys});
      });
}

TEST_P(RowSplits, CrossEntropyGradient) {
  const std::int64_t vocabulary = GetParam() + 1;
  const at::Tensor logits = normal({kSplitRows, vocabulary}, 14);
  at::Tensor out = at::empty_like(logits), labels = at::empty({kSplitRows}, at::kLong);
  for (std::int64_t m = 0; m < kSplitRows; ++m) labels.data_ptr<std::int64_t>()[m] = m % vocabulary;
  expect_independent_of_splits(
      out, [&] { out.copy_(logits); },
      [&](std::int64_t first, std::int64_t rows) {
        (void)loss_of(op::CrossEntropy<float>{.logits = data(out) + first * vocabulary,
                                              .labels = labels.data_ptr<std::int64_t>() + first,
                                              .rows = rows,
                                              .vocabulary = vocabulary,
                                              .smoothing = 0.1F,
                                              .g_scale = 0.01F});
      });
}

TEST_P(RowSplits, EmbeddingBackward) {
  const std::int64_t d = GetParam();
  const at::Tensor g = normal({kSplitRows, d}, 15);
  at::Tensor out = at::empty({5, d}), ids = at::empty({kSplitRows}, at::kLong);
  for (std::int64_t m = 0; m < kSplitRows; ++m) ids.data_ptr<std::int64_t>()[m] = 1 + m * m % 4;
  expect_independent_of_splits(
      out, [&] { out.fill_(0.1F); },
      [&](std::int64_t first, std::int64_t rows) {
        compute(op::EmbedBackward<float>{.g = data(g) + first * d,
                                         .ids = ids.data_ptr<std::int64_t>() + first,
                                         .g_weight = data(out),
                                         .rows = rows,
                                         .width = d,
                                         .scale = 1.5F});
      });
}

/// The same work on buffers that begin `shift` floats after an aligned address.
TEST_P(RowSplits, TheBuffersAddressDoesNotMatter) {
  const std::int64_t d = GetParam();
  const at::Tensor x = normal({kSplitRows * d}, 16), gamma = normal({d}, 17),
                   beta = normal({d}, 18);
  at::Tensor first_y;
  for (std::int64_t shift = 0; shift < 17; shift += 1) {
    const at::Tensor moved = at::zeros({kSplitRows * d + 32}), y = at::zeros({kSplitRows * d + 32});
    at::Tensor mean = at::empty({kSplitRows}), rstd = at::empty({kSplitRows});
    moved.narrow(0, shift, kSplitRows * d).copy_(x);
    compute(op::LayerNorm<float>{.x = data(moved) + shift,
                                 .gamma = data(gamma),
                                 .beta = data(beta),
                                 .y = data(y) + shift,
                                 .mean = data(mean),
                                 .rstd = data(rstd),
                                 .rows = kSplitRows,
                                 .columns = d});
    compute(op::MaskedSoftmax<float>{
        .scores = data(y) + shift, .batch = 1, .heads = 1, .queries = kSplitRows, .keys = d});
    const at::Tensor got = y.narrow(0, shift, kSplitRows * d).clone();
    if (shift == 0) first_y = got;
    EXPECT_TRUE(same_bits(got, first_y)) << shift;
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, RowSplits, testing::Values(1, 7, 16, 33, 64));

}  // namespace
}  // namespace th::model
