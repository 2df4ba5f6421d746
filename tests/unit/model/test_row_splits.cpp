// A row's bits depend on the row alone: not on how many rows a call gets, where the buffer lies, or
// which rows stand beside it.
#include <gtest/gtest.h>

#include "tensors.hpp"
#include "th/model/ops/kernels.hpp"

#include <functional>
#include <vector>

namespace th::model {
namespace {

using test::data;
using test::normal;
using test::same_bits;

constexpr std::int64_t kRows = 24;

/// Calls `run(first, rows)` over several partitions of the rows; `result` holds what they wrote and
/// must stay the same.
void expect_independent_of_splits(const at::Tensor& result, const std::function<void()>& reset,
                                  const std::function<void(std::int64_t, std::int64_t)>& run) {
  reset();
  run(0, kRows);
  const at::Tensor whole = result.clone();
  for (const std::vector<std::int64_t>& cuts :
       {std::vector<std::int64_t>{1}, {6}, {12}, {23}, {3, 9}, {6, 12, 18}, {1, 2, 3, 4, 5, 20}}) {
    reset();
    std::int64_t at = 0;
    for (const std::int64_t cut : cuts) {
      run(at, cut - at);
      at = cut;
    }
    run(at, kRows - at);
    EXPECT_TRUE(same_bits(result, whole)) << cuts.size() << " cuts, the first at " << cuts[0];
  }
}

class RowSplits : public testing::TestWithParam<std::int64_t> {};

TEST_P(RowSplits, LayerNorm) {
  const std::int64_t d = GetParam();
  const at::Tensor x = normal({kRows, d}, 1), gamma = normal({d}, 2), beta = normal({d}, 3);
  at::Tensor out = at::empty({kRows * d + 2 * kRows});
  float *y = data(out), *mean = y + kRows * d, *rstd = mean + kRows;
  expect_independent_of_splits(
      out, [&] { out.fill_(-1); },
      [&](std::int64_t first, std::int64_t rows) {
        layer_norm(data(x) + first * d, data(gamma), data(beta), y + first * d, mean + first,
                   rstd + first, rows, d);
      });
}

TEST_P(RowSplits, LayerNormBackwardWithItsSums) {
  const std::int64_t d = GetParam();
  const at::Tensor x = normal({kRows, d}, 4), g = normal({kRows, d}, 5), gamma = normal({d}, 6),
                   mean = normal({kRows}, 7), rstd = normal({kRows}, 8);
  at::Tensor out = at::empty({kRows * d + 2 * d});
  float *g_x = data(out), *g_gamma = g_x + kRows * d, *g_beta = g_gamma + d;
  expect_independent_of_splits(
      out, [&] { out.fill_(0.1F); },
      [&](std::int64_t first, std::int64_t rows) {
        layer_norm_backward(data(g) + first * d, data(x) + first * d, data(gamma),
                            data(mean) + first, data(rstd) + first, g_x + first * d, g_gamma,
                            g_beta, rows, d);
      });
}

TEST_P(RowSplits, ColumnSumsAndBiases) {
  const std::int64_t d = GetParam();
  const at::Tensor x = normal({kRows, d}, 9), bias = normal({d}, 10);
  at::Tensor sums = at::empty({d}), h = at::empty({kRows, d});
  expect_independent_of_splits(
      sums, [&] { sums.fill_(0.1F); },
      [&](std::int64_t first, std::int64_t rows) {
        add_column_sums(data(x) + first * d, data(sums), rows, d);
      });
  expect_independent_of_splits(
      h, [&] { h.copy_(x); },
      [&](std::int64_t first, std::int64_t rows) {
        bias_relu_dropout(data(h) + first * d, data(bias), rows, d, {});
      });
}

TEST_P(RowSplits, Softmax) {
  const std::int64_t keys = GetParam();
  const at::Tensor scores = normal({kRows, 2, 3, keys}, 11);
  std::vector<std::int32_t> lengths;
  for (std::int64_t b = 0; b < kRows; ++b)
    lengths.push_back(static_cast<std::int32_t>(1 + b % keys));
  at::Tensor p = at::empty_like(scores);
  for (const bool causal : {false, true}) {
    expect_independent_of_splits(
        p, [&] { p.copy_(scores); },
        [&](std::int64_t first, std::int64_t rows) {
          masked_softmax(data(p) + first * 6 * keys, rows, 2, 3, keys,
                         {lengths.data() + first, causal});
        });
  }
}

TEST_P(RowSplits, SoftmaxBackward) {
  const std::int64_t keys = GetParam();
  const at::Tensor p = at::softmax(normal({kRows, keys}, 12), -1), g = normal({kRows, keys}, 13);
  at::Tensor out = at::empty_like(g);
  expect_independent_of_splits(
      out, [&] { out.copy_(g); },
      [&](std::int64_t first, std::int64_t rows) {
        softmax_dropout_backward(data(p) + first * keys, data(out) + first * keys, rows, keys, {});
      });
}

TEST_P(RowSplits, CrossEntropyGradient) {
  const std::int64_t vocabulary = GetParam() + 1;
  const at::Tensor logits = normal({kRows, vocabulary}, 14);
  at::Tensor out = at::empty_like(logits), labels = at::empty({kRows}, at::kLong);
  for (std::int64_t m = 0; m < kRows; ++m) labels.data_ptr<std::int64_t>()[m] = m % vocabulary;
  expect_independent_of_splits(
      out, [&] { out.copy_(logits); },
      [&](std::int64_t first, std::int64_t rows) {
        (void)cross_entropy(data(out) + first * vocabulary, labels.data_ptr<std::int64_t>() + first,
                            rows, vocabulary, 0.1F, 0.01F);
      });
}

TEST_P(RowSplits, EmbeddingBackward) {
  const std::int64_t d = GetParam();
  const at::Tensor g = normal({kRows, d}, 15);
  at::Tensor out = at::empty({5, d}), ids = at::empty({kRows}, at::kLong);
  for (std::int64_t m = 0; m < kRows; ++m) ids.data_ptr<std::int64_t>()[m] = 1 + m * m % 4;
  expect_independent_of_splits(
      out, [&] { out.fill_(0.1F); },
      [&](std::int64_t first, std::int64_t rows) {
        embed_backward(data(g) + first * d, ids.data_ptr<std::int64_t>() + first, data(out), rows,
                       d, 1.5F, {});
      });
}

/// The same work on buffers that begin `shift` floats after an aligned address.
TEST_P(RowSplits, TheBuffersAddressDoesNotMatter) {
  const std::int64_t d = GetParam();
  const at::Tensor x = normal({kRows * d}, 16), gamma = normal({d}, 17), beta = normal({d}, 18);
  at::Tensor first_y;
  for (std::int64_t shift = 0; shift < 17; shift += 1) {
    const at::Tensor moved = at::zeros({kRows * d + 32}), y = at::zeros({kRows * d + 32});
    at::Tensor mean = at::empty({kRows}), rstd = at::empty({kRows});
    moved.narrow(0, shift, kRows * d).copy_(x);
    layer_norm(data(moved) + shift, data(gamma), data(beta), data(y) + shift, data(mean),
               data(rstd), kRows, d);
    masked_softmax(data(y) + shift, 1, 1, kRows, d, {});
    const at::Tensor got = y.narrow(0, shift, kRows * d).clone();
    if (shift == 0) first_y = got;
    EXPECT_TRUE(same_bits(got, first_y)) << shift;
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, RowSplits, testing::Values(1, 7, 16, 33, 64));

}  // namespace
}  // namespace th::model
