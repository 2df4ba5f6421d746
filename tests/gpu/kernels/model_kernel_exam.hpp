#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "th/base/half_float.hpp"
#include "th/runtime/device/model_kernels.hpp"

// The model's kernels of a table against those of another, which work on host memory, for each
// element type: the GPU's bodies run on the host against the CPU's kernels, a GPU against its
// bodies on the host. `Memory` is the place of the arrays: Memory::Array<T>(values) with get() and
// values().
namespace th::reference {

/// The host's.
struct HostMemory {
  template <typename T>
  class Array {
   public:
    explicit Array(std::vector<T> values) : values_(std::move(values)) {}
    [[nodiscard]] T* get() const { return values_.data(); }
    [[nodiscard]] std::vector<T> values() const { return values_; }

   private:
    mutable std::vector<T> values_;
  };
};

template <typename T>
std::vector<T> random_elements(std::int64_t count, unsigned seed, double scale = 1.0) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<T> out;
  for (std::int64_t i = 0; i < count; ++i)
    out.push_back(from_float<T>(static_cast<float>(normal(engine))));
  return out;
}

template <typename T>
void expect_same_bits(const std::vector<T>& seen, const std::vector<T>& expected,
                      const char* what) {
  ASSERT_EQ(seen.size(), expected.size());
  for (std::size_t i = 0; i < seen.size(); ++i) {
    ASSERT_EQ(std::memcmp(&seen[i], &expected[i], sizeof(T)), 0)
        << what << " at " << i << ": " << static_cast<double>(to_float(seen[i])) << " in place of "
        << static_cast<double>(to_float(expected[i]));
  }
}

/// Sums over rows in another order: the difference of two orders of `rows` fp32 terms of size about
/// one.
inline void expect_near_sums(const std::vector<float>& seen, const std::vector<float>& expected,
                             std::int64_t rows, const char* what) {
  ASSERT_EQ(seen.size(), expected.size());
  const double tolerance = 6e-8 * static_cast<double>(rows) * 4;
  for (std::size_t i = 0; i < seen.size(); ++i)
    ASSERT_NEAR(seen[i], expected[i], tolerance) << what << " at " << i;
}

/// Whether sums over rows have the reference's order.
enum class Sums { kSame, kOtherOrder };

template <typename T, typename Memory>
class ModelKernelExam {
 public:
  ModelKernelExam(const runtime::ModelKernels<T>& kernels,
                  const runtime::ModelKernels<T>& reference, Sums sums)
      : k_(kernels), r_(reference), sums_(sums) {}

  /// Columns that are whole packs of a GPU's, and others.
  void elementwise(float rate, std::int64_t columns) const {
    const Dropout dropout{77, rate};
    const std::int64_t rows = 37, n = rows * columns;
    const auto x = random_elements<T>(n, 1), s = random_elements<T>(n, 2),
               bias = random_elements<T>(columns, 3);
    const Array<T> dx(x), ds(s), dbias(bias);
    std::vector<T> y(x.size());
    compare(
        "add_dropout", y,
        [&](T* out) { r_.add_dropout(x.data(), s.data(), out, n, dropout, nullptr); },
        [&](T* out) { k_.add_dropout(dx.get(), ds.get(), out, n, dropout, nullptr); });
    compare(
        "dropout_backward", y,
        [&](T* out) { r_.dropout_backward(x.data(), out, n, dropout, nullptr); },
        [&](T* out) { k_.dropout_backward(dx.get(), out, n, dropout, nullptr); });
    compare(
        "apply_dropout", y, [&](T* out) { r_.apply_dropout(x.data(), out, n, dropout, nullptr); },
        [&](T* out) { k_.apply_dropout(dx.get(), out, n, dropout, nullptr); });
    compare(
        "bias_relu_dropout", x,
        [&](T* h) { r_.bias_relu_dropout(h, bias.data(), rows, columns, dropout, nullptr); },
        [&](T* h) { k_.bias_relu_dropout(h, dbias.get(), rows, columns, dropout, nullptr); });
    compare(
        "relu_dropout_backward", s,
        [&](T* g) { r_.relu_dropout_backward(x.data(), g, n, dropout, nullptr); },
        [&](T* g) { k_.relu_dropout_backward(dx.get(), g, n, dropout, nullptr); });
    compare(
        "add_to", s, [&](T* out) { r_.add_to(out, x.data(), n, nullptr); },
        [&](T* out) { k_.add_to(out, dx.get(), n, nullptr); });
    const auto wide = random_elements<float>(n, 4, 100);
    const Array<float> dwide(wide);
    compare(
        "accumulate", wide, [&](float* out) { r_.accumulate(out, x.data(), n, nullptr); },
        [&](float* out) { k_.accumulate(out, dx.get(), n, nullptr); });
    compare(
        "widen", wide, [&](float* out) { r_.widen(x.data(), out, n, nullptr); },
        [&](float* out) { k_.widen(dx.get(), out, n, nullptr); });
    compare(
        "narrow", y, [&](T* out) { r_.narrow(wide.data(), out, n, nullptr); },
        [&](T* out) { k_.narrow(dwide.get(), out, n, nullptr); });
  }

  void normalisation() const {
    for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{43, 1},
                                        {43, 15},
                                        {43, 64},
                                        {43, 100},
                                        {1300, 72},
                                        {43, 9000},
                                        {43, 512},
                                        {43, 384},
                                        {43, 768}}) {
      const auto x = random_elements<T>(rows * columns, 5, 3),
                 g = random_elements<T>(rows * columns, 6), gamma = random_elements<T>(columns, 7),
                 beta = random_elements<T>(columns, 8);
      const Array<T> dx(x), dg(g), dgamma(gamma), dbeta(beta);
      std::vector<float> mean(rows), rstd(rows);
      const Array<float> dmean(mean), drstd(rstd);
      std::vector<T> out(x.size());
      compare(
          "layer_norm", out,
          [&](T* y) {
            r_.layer_norm(x.data(), gamma.data(), beta.data(), y, mean.data(), rstd.data(), rows,
                          columns, nullptr);
          },
          [&](T* y) {
            k_.layer_norm(dx.get(), dgamma.get(), dbeta.get(), y, dmean.get(), drstd.get(), rows,
                          columns, nullptr);
          });
      expect_same_bits(dmean.values(), mean, "mean");
      expect_same_bits(drstd.values(), rstd, "rstd");
      std::vector<float> g_gamma(gamma.size(), 0.5F), g_beta(gamma.size(), -0.5F);
      const Array<float> dg_gamma(g_gamma), dg_beta(g_beta);
      compare(
          "layer_norm_backward", out,
          [&](T* g_x) {
            r_.layer_norm_backward(g.data(), x.data(), gamma.data(), mean.data(), rstd.data(), g_x,
                                   g_gamma.data(), g_beta.data(), rows, columns, nullptr);
          },
          [&](T* g_x) {
            k_.layer_norm_backward(dg.get(), dx.get(), dgamma.get(), dmean.get(), drstd.get(), g_x,
                                   dg_gamma.get(), dg_beta.get(), rows, columns, nullptr);
          });
      compare_sums(dg_gamma.values(), g_gamma, rows, "g_gamma");
      compare_sums(dg_beta.values(), g_beta, rows, "g_beta");
      std::vector<float> sums(gamma.size(), 1.0F);
      const Array<float> dsums(sums);
      r_.add_column_sums(g.data(), sums.data(), rows, columns, nullptr);
      k_.add_column_sums(dg.get(), dsums.get(), rows, columns, nullptr);
      compare_sums(dsums.values(), sums, rows, "add_column_sums");
    }
  }

  void attention(float rate) const {
    const std::int64_t batch = 3, heads = 2, queries = 19, keys = 37, width = 8;
    const std::vector<std::int32_t> lengths{37, 5, 16};
    const Array<std::int32_t> dlengths(lengths);
    const std::int64_t n = batch * heads * queries * keys;
    const auto scores = random_elements<T>(n, 9, 4), g = random_elements<T>(n, 10);
    for (const bool causal : {false, true}) {
      for (const bool masked : {false, true}) {
        compare(
            "masked_softmax", scores,
            [&](T* s) {
              r_.masked_softmax(s, masked ? lengths.data() : nullptr, causal, batch, heads, queries,
                                keys, nullptr);
            },
            [&](T* s) {
              k_.masked_softmax(s, masked ? dlengths.get() : nullptr, causal, batch, heads, queries,
                                keys, nullptr);
            });
      }
    }
    std::vector<T> p = scores;
    r_.masked_softmax(p.data(), lengths.data(), false, batch, heads, queries, keys, nullptr);
    const Array<T> dp(p);
    const Dropout dropout{78, rate};
    // fp32: the CPU stores the dropped gradient in between, which is the same product; 16-bit types
    // draw it again, as here.
    compare(
        "softmax_dropout_backward", g,
        [&](T* out) {
          r_.softmax_dropout_backward(p.data(), out, batch * heads * queries, keys, dropout,
                                      nullptr);
        },
        [&](T* out) {
          k_.softmax_dropout_backward(dp.get(), out, batch * heads * queries, keys, dropout,
                                      nullptr);
        });
    const std::int64_t stride = 3 * heads * width;
    const std::vector<std::int64_t> offsets{0, 19, 22,
                                            38};  // a full sentence and two that end before
    const Array<std::int64_t> doffsets(offsets);
    const auto packed = random_elements<T>(offsets.back() * stride, 11);
    const Array<T> dpacked(packed);
    std::vector<T> split(static_cast<std::size_t>(batch * heads * queries * width));
    compare(
        "split_heads", split,
        [&](T* out) {
          r_.split_heads(packed.data() + 16, offsets.data(), out, batch, queries, heads, width,
                         stride, 0.3F, nullptr);
        },
        [&](T* out) {
          k_.split_heads(dpacked.get() + 16, doffsets.get(), out, batch, queries, heads, width,
                         stride, 0.3F, nullptr);
        });
    const auto split_values = random_elements<T>(std::ssize(split), 12);
    const Array<T> dsplit(split_values);
    compare(
        "merge_heads", packed,
        [&](T* out) {
          r_.merge_heads(split_values.data(), offsets.data(), out + 16, batch, queries, heads,
                         width, stride, 0.3F, nullptr);
        },
        [&](T* out) {
          k_.merge_heads(dsplit.get(), doffsets.get(), out + 16, batch, queries, heads, width,
                         stride, 0.3F, nullptr);
        });
  }

  void embedding(float rate, std::int64_t sentences, std::int64_t width) const {
    const std::int64_t length = 9, rows = sentences * length, vocabulary = 7;
    const Dropout dropout{79, rate};
    const auto weight = random_elements<T>(vocabulary * width, 13),
               g = random_elements<T>(rows * width, 14);
    const auto position = random_elements<float>(length * width, 15),
               start = random_elements<float>(vocabulary * width, 16);
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> places;
    for (std::int64_t m = 0; m < rows; ++m) {
      ids.push_back(m * m % vocabulary);  // with padding, and each id several times
      places.push_back(static_cast<std::int32_t>(m * 5 % length));
    }
    const Array<std::int32_t> dplaces(places);
    const Array<T> dweight(weight), dg(g);
    const Array<float> dposition(position);
    const Array<std::int64_t> dids(ids);
    std::vector<T> y(g.size());
    compare(
        "embed", y,
        [&](T* out) {
          r_.embed(weight.data(), ids.data(), position.data(), places.data(), out, rows, width,
                   4.5F, dropout, nullptr);
        },
        [&](T* out) {
          k_.embed(dweight.get(), dids.get(), dposition.get(), dplaces.get(), out, rows, width,
                   4.5F, dropout, nullptr);
        });
    compare(
        "embed_backward", start,
        [&](float* out) {
          r_.embed_backward(g.data(), ids.data(), out, rows, width, 4.5F, dropout, nullptr);
        },
        [&](float* out) {
          k_.embed_backward(dg.get(), dids.get(), out, rows, width, 4.5F, dropout, nullptr);
        });
  }

  void loss(std::int64_t vocabulary) const {
    const std::int64_t rows = 23;
    const auto logits = random_elements<T>(rows * vocabulary, 17, 3);
    std::vector<std::int64_t> labels;
    for (std::int64_t m = 0; m < rows; ++m)
      labels.push_back(m * 29 % vocabulary);  // the first is padding
    const Array<std::int64_t> dlabels(labels);
    for (const float smoothing : {0.0F, 0.1F}) {
      for (const float g_scale : {0.0F, 0.01F}) {
        std::vector<double> losses(static_cast<std::size_t>(rows));
        const Array<double> dlosses(std::vector<double>(static_cast<std::size_t>(rows), -1.0));
        compare(
            "cross_entropy", logits,
            [&](T* z) {
              r_.cross_entropy(z, labels.data(), losses.data(), rows, vocabulary, smoothing,
                               g_scale, nullptr);
            },
            [&](T* z) {
              k_.cross_entropy(z, dlabels.get(), dlosses.get(), rows, vocabulary, smoothing,
                               g_scale, nullptr);
            });
        double sum = 0, expected = 0;
        for (const double loss : dlosses.values()) sum += loss;
        for (const double loss : losses) expected += loss;
        const Array<double> total(std::vector<double>{0.5});
        k_.add_total(dlosses.get(), total.get(), rows, nullptr);
        EXPECT_EQ(total.values()[0], 0.5 + sum) << "the total is added in row order";
        EXPECT_NEAR(sum, expected, 1e-12 * expected)
            << "fp64 logarithms of two libraries differ in the last bit";
      }
    }
  }

 private:
  template <typename V>
  using Array = typename Memory::template Array<V>;

  /// Both write into a copy of `start`: equal bits.
  template <typename V, typename Cpu, typename Table>
  void compare(const char* what, const std::vector<V>& start, const Cpu& cpu,
               const Table& table) const {
    std::vector<V> expected = start;
    const Array<V> seen(start);
    cpu(expected.data());
    table(seen.get());
    expect_same_bits(seen.values(), expected, what);
  }

  void compare_sums(const std::vector<float>& seen, const std::vector<float>& expected,
                    std::int64_t rows, const char* what) const {
    sums_ == Sums::kSame ? expect_same_bits(seen, expected, what)
                         : expect_near_sums(seen, expected, rows, what);
  }

  const runtime::ModelKernels<T>&k_, &r_;
  Sums sums_;
};

template <typename T, typename Memory>
void examine_model_kernels(const runtime::ModelKernels<T>& kernels,
                           const runtime::ModelKernels<T>& reference, Sums sums) {
  const ModelKernelExam<T, Memory> exam(kernels, reference, sums);
  for (const float rate : {0.0F, 0.1F}) {
    for (const std::int64_t columns : {91, 96}) exam.elementwise(rate, columns);
    exam.attention(rate);
    exam.embedding(rate, 5, 20);
    exam.embedding(rate, 40, 520);
  }
  exam.normalisation();
  for (const std::int64_t vocabulary : {131, 1100}) exam.loss(vocabulary);
}

}  // namespace th::reference
