#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <utility>
#include <vector>

#include "th/base/half_float.hpp"
#include "th/runtime/ops/operands.hpp"

// The ops of a table against those of another, which work on host memory, for each
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
  ModelKernelExam(const runtime::OpTable<T>& ops, const runtime::OpTable<T>& reference, Sums sums)
      : ops_(ops), reference_(reference), sums_(sums) {}

  /// Columns that are whole packs of a GPU's, and others.
  void elementwise(float rate, std::int64_t columns) const {
    const Dropout dropout{77, rate};
    const std::int64_t rows = 37, n = rows * columns;
    const Both<T> x(random_elements<T>(n, 1)), s(random_elements<T>(n, 2)),
        bias(random_elements<T>(columns, 3));
    const Both<float> wide(random_elements<float>(n, 4, 100));
    const std::vector<T> empty(static_cast<std::size_t>(n));
    compare("add_dropout", empty, [&](Side at, T* out) {
      return op::AddDropout<T>{
          .x = x.at(at), .s = s.at(at), .y = out, .count = n, .dropout = dropout};
    });
    compare("apply_dropout", empty, [&](Side at, T* out) {
      return op::ApplyDropout<T>{.x = x.at(at), .out = out, .count = n, .dropout = dropout};
    });
    compare("bias_relu_dropout", x.values(), [&](Side at, T* h) {
      return op::BiasReluDropout<T>{
          .h = h, .bias = bias.at(at), .rows = rows, .columns = columns, .dropout = dropout};
    });
    compare("relu_dropout_backward", s.values(), [&](Side at, T* g) {
      return op::ReluDropoutBackward<T>{.h = x.at(at), .g = g, .count = n, .dropout = dropout};
    });
    compare("add_to", s.values(),
            [&](Side at, T* y) { return op::AddTo<T>{.y = y, .x = x.at(at), .count = n}; });
    compare("accumulate", wide.values(), [&](Side at, float* y) {
      return op::Accumulate<T>{.y = y, .x = x.at(at), .count = n};
    });
    compare("widen", wide.values(),
            [&](Side at, float* y) { return op::Widen<T>{.x = x.at(at), .y = y, .count = n}; });
    compare("narrow", empty,
            [&](Side at, T* y) { return op::Narrow<T>{.x = wide.at(at), .y = y, .count = n}; });
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
                                        {43, 768}})
      normalisation(rows, columns);
  }

  /// Softmax over stored scores for every rule, and its backward pass.
  void softmax(float rate) const {
    const std::int64_t batch = 3, heads = 2, queries = 19, keys = 37;
    const Both<std::int32_t> lengths({37, 5, 16});
    const std::int64_t n = batch * heads * queries * keys;
    const auto scores = random_elements<T>(n, 9, 4), g = random_elements<T>(n, 10);
    const auto softmax_of = [&](Side at, T* s, runtime::ScoreRule rule, bool masked) {
      return op::MaskedSoftmax<T>{.scores = s,
                                  .key_lengths = masked ? lengths.at(at) : nullptr,
                                  .rule = rule,
                                  .batch = batch,
                                  .heads = heads,
                                  .queries = queries,
                                  .keys = keys};
    };
    for (const auto kind : {runtime::ScoreRule::Kind::kFull, runtime::ScoreRule::Kind::kCausal}) {
      for (const bool masked : {false, true}) {
        compare("masked_softmax", scores,
                [&](Side at, T* s) { return softmax_of(at, s, {kind}, masked); });
      }
    }
    std::vector<T> probabilities = scores;
    reference_.run(softmax_of(Side::kReference, probabilities.data(), {}, true), nullptr);
    const Both<T> p(probabilities);
    // fp32: the CPU stores the dropped gradient in between, which is the same product; 16-bit types
    // draw it again, as here.
    compare("softmax_dropout_backward", g, [&](Side at, T* out) {
      return op::SoftmaxDropoutBackward<T>{.p = p.at(at),
                                           .g = out,
                                           .rows = batch * heads * queries,
                                           .keys = keys,
                                           .dropout = {78, rate}};
    });
  }

  void heads() const {
    const std::int64_t batch = 3, heads = 2, length = 19, width = 8, stride = 3 * heads * width;
    const Both<std::int64_t> offsets({0, 19, 22, 38});  // a full sentence and two that end before
    const Both<T> packed(random_elements<T>(38 * stride, 11)),
        split(random_elements<T>(batch * heads * length * width, 12));
    compare("split_heads", std::vector<T>(split.values().size()), [&](Side at, T* out) {
      return op::SplitHeads<T>{.x = packed.at(at) + 16,
                               .offsets = offsets.at(at),
                               .out = out,
                               .batch = batch,
                               .length = length,
                               .heads = heads,
                               .width = width,
                               .stride = stride,
                               .scale = 0.3F};
    });
    compare("merge_heads", packed.values(), [&](Side at, T* x) {
      return op::MergeHeads<T>{.h = split.at(at),
                               .offsets = offsets.at(at),
                               .x = x + 16,
                               .batch = batch,
                               .length = length,
                               .heads = heads,
                               .width = width,
                               .stride = stride,
                               .scale = 0.3F};
    });
    std::vector<std::int32_t> rows;
    for (std::int32_t m = 0; m < 38; ++m) rows.push_back(m * 5 % 19);
    const Both<std::int32_t> places(rows);
    const auto rotate = [&](Side at, T* x) {
      return op::RotatePositions<T>{.x = x + 16,
                                    .places = places.at(at),
                                    .rows = 38,
                                    .heads = heads,
                                    .width = width,
                                    .stride = stride};
    };
    compare("rotate_positions", packed.values(), rotate);
    const Array<T> seen(packed.values());
    ops_.run(rotate(Side::kExamined, seen.get()), nullptr);
    expect_same_bits(seen.values(), packed.values(), "the identity");
  }

  void embedding(float rate, std::int64_t sentences, std::int64_t width) const {
    const std::int64_t length = 9, rows = sentences * length, vocabulary = 7;
    const Dropout dropout{79, rate};
    std::vector<std::int64_t> numbers;
    std::vector<std::int32_t> positions;
    for (std::int64_t m = 0; m < rows; ++m) {
      numbers.push_back(m * m % vocabulary);  // with padding, and each id several times
      positions.push_back(static_cast<std::int32_t>(m * 5 % length));
    }
    const Both<T> weight(random_elements<T>(vocabulary * width, 13)),
        g(random_elements<T>(rows * width, 14));
    const Both<float> position(random_elements<float>(length * width, 15));
    const Both<std::int64_t> ids(numbers);
    const Both<std::int32_t> places(positions);
    compare("embed", std::vector<T>(g.values().size()), [&](Side at, T* y) {
      return op::Embed<T>{.weight = weight.at(at),
                          .ids = ids.at(at),
                          .position = position.at(at),
                          .places = places.at(at),
                          .y = y,
                          .rows = rows,
                          .width = width,
                          .scale = 4.5F,
                          .dropout = dropout,
                          .zero_id = sentences % 2 == 0 ? 2 : -1};
    });
    compare("embed_backward", random_elements<float>(vocabulary * width, 16),
            [&](Side at, float* g_weight) {
              return op::EmbedBackward<T>{.g = g.at(at),
                                          .ids = ids.at(at),
                                          .g_weight = g_weight,
                                          .rows = rows,
                                          .width = width,
                                          .scale = 4.5F,
                                          .dropout = dropout,
                                          .zero_id = sentences % 2 == 0 ? 2 : -1};
            });
  }

  void loss(std::int64_t vocabulary) const {
    for (const bool biased : {false, true}) {
      for (const float smoothing : {0.0F, 0.1F}) {
        for (const float g_scale : {0.0F, 0.01F}) {
          // Without a gradient a bias leaves in the logits what it likes.
          if (!biased || g_scale != 0.0F) loss(vocabulary, biased, smoothing, g_scale);
        }
      }
    }
  }

 protected:
  template <typename V>
  using Array = typename Memory::template Array<V>;
  enum class Side { kReference, kExamined };

  /// Values on the host for the reference, and in the examined device's memory.
  template <typename V>
  class Both {
   public:
    explicit Both(std::vector<V> values) : values_(std::move(values)), array_(values_) {}
    [[nodiscard]] V* at(Side side) const {
      return side == Side::kReference ? values_.data() : array_.get();
    }
    [[nodiscard]] const std::vector<V>& values() const { return values_; }
    [[nodiscard]] std::vector<V> examined() const { return array_.values(); }

   private:
    mutable std::vector<V> values_;
    Array<V> array_;
  };

  /// Runs operands(side, out) on both sides, each on a copy of `start`: equal bits.
  template <typename V, typename Operands>
  void compare(const char* what, const std::vector<V>& start, const Operands& operands) const {
    std::vector<V> expected = start;
    const Array<V> seen(start);
    reference_.run(operands(Side::kReference, expected.data()), nullptr);
    ops_.run(operands(Side::kExamined, seen.get()), nullptr);
    expect_same_bits(seen.values(), expected, what);
  }

  void compare_sums(const Both<float>& sums, std::int64_t rows, const char* what) const {
    sums_ == Sums::kSame ? expect_same_bits(sums.examined(), sums.values(), what)
                         : expect_near_sums(sums.examined(), sums.values(), rows, what);
  }

 private:
  void normalisation(std::int64_t rows, std::int64_t columns) const {
    const auto row_count = static_cast<std::size_t>(rows),
               width = static_cast<std::size_t>(columns);
    const Both<T> x(random_elements<T>(rows * columns, 5, 3)),
        g(random_elements<T>(rows * columns, 6)), gamma(random_elements<T>(columns, 7)),
        beta(random_elements<T>(columns, 8));
    const Both<float> mean{std::vector<float>(row_count)}, rstd{std::vector<float>(row_count)},
        g_gamma(std::vector<float>(width, 0.5F)), g_beta(std::vector<float>(width, -0.5F)),
        sums(std::vector<float>(width, 1.0F));
    const std::vector<T> empty(x.values().size());
    compare("layer_norm", empty, [&](Side at, T* y) {
      return op::LayerNorm<T>{.x = x.at(at),
                              .gamma = gamma.at(at),
                              .beta = beta.at(at),
                              .y = y,
                              .mean = mean.at(at),
                              .rstd = rstd.at(at),
                              .rows = rows,
                              .columns = columns};
    });
    expect_same_bits(mean.examined(), mean.values(), "mean");
    expect_same_bits(rstd.examined(), rstd.values(), "rstd");
    compare("layer_norm_backward", empty, [&](Side at, T* g_x) {
      return op::LayerNormBackward<T>{.g = g.at(at),
                                      .x = x.at(at),
                                      .gamma = gamma.at(at),
                                      .mean = mean.at(at),
                                      .rstd = rstd.at(at),
                                      .g_x = g_x,
                                      .g_gamma = g_gamma.at(at),
                                      .g_beta = g_beta.at(at),
                                      .rows = rows,
                                      .columns = columns};
    });
    compare_sums(g_gamma, rows, "g_gamma");
    compare_sums(g_beta, rows, "g_beta");
    for (const Side at : {Side::kReference, Side::kExamined}) {
      const op::AddColumnSums<T> o{
          .x = g.at(at), .out = sums.at(at), .rows = rows, .columns = columns};
      (at == Side::kReference ? reference_ : ops_).run(o, nullptr);
    }
    compare_sums(sums, rows, "add_column_sums");
  }

  void loss(std::int64_t vocabulary, bool biased, float smoothing, float g_scale) const {
    const std::int64_t rows = 23;
    std::vector<std::int64_t> numbers;
    for (std::int64_t m = 0; m < rows; ++m)
      numbers.push_back(m * 29 % vocabulary);  // the first is padding
    const Both<std::int64_t> labels(numbers);
    const Both<T> bias(random_elements<T>(vocabulary, 18));
    const Both<double> losses(std::vector<double>(static_cast<std::size_t>(rows), -1.0));
    compare("cross_entropy", random_elements<T>(rows * vocabulary, 17, 3), [&](Side at, T* logits) {
      return op::CrossEntropy<T>{.logits = logits,
                                 .labels = labels.at(at),
                                 .row_losses = losses.at(at),
                                 .bias = biased ? bias.at(at) : nullptr,
                                 .rows = rows,
                                 .vocabulary = vocabulary,
                                 .smoothing = smoothing,
                                 .g_scale = g_scale};
    });
    double sum = 0, expected = 0;
    for (const double loss : losses.examined()) sum += loss;
    for (const double loss : losses.values()) expected += loss;
    const Array<double> total(std::vector<double>{0.5});
    ops_.run(op::AddTotal<T>{.x = losses.at(Side::kExamined), .out = total.get(), .count = rows},
             nullptr);
    EXPECT_EQ(total.values()[0], 0.5 + sum) << "the total is added in row order";
    EXPECT_NEAR(sum, expected, 1e-12 * expected)
        << "fp64 logarithms of two libraries differ in the last bit";
  }

  const runtime::OpTable<T>&ops_, &reference_;
  Sums sums_;
};

/// How many ops a device does not have.
template <typename... Ops>
[[nodiscard]] int missing_ops(const runtime::OpTableOf<Ops...>& table) {
  return (0 + ... + (table.template has<Ops>() ? 0 : 1));
}

template <typename T, typename Memory>
void examine_model_kernels(const runtime::OpTable<T>& ops, const runtime::OpTable<T>& reference,
                           Sums sums) {
  const bool attention = ops.template has<op::Attention<T>>();
  ASSERT_EQ(missing_ops(ops), attention ? 0 : 2) << "only attention in one kernel may be missing";
  const ModelKernelExam<T, Memory> exam(ops, reference, sums);
  for (const float rate : {0.0F, 0.1F}) {
    for (const std::int64_t columns : {91, 96}) exam.elementwise(rate, columns);
    exam.softmax(rate);
    exam.embedding(rate, 5, 20);
    exam.embedding(rate, 40, 520);
  }
  exam.heads();
  exam.normalisation();
  for (const std::int64_t vocabulary : {131, 1100}) exam.loss(vocabulary);
}

}  // namespace th::reference
