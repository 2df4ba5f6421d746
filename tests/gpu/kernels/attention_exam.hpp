#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gpu/kernels/model_kernel_exam.hpp"
#include "th/runtime/ops/operands.hpp"

// Attention of packed rows in one kernel, a GPU's and the host's, against the same formulas in
// fp64: sentences of unlike lengths, self and cross attention, rules of scores, draws.
namespace th::reference {

struct AttentionCase {
  std::vector<std::int64_t> query_offsets, key_offsets;
  std::int64_t heads, width;
  runtime::ScoreRule rule;
  float rate;
};

/// Forward and gradients of one case, in fp64.
struct ExpectedAttention {
  std::vector<double> out, g_q, g_k, g_v;
};

template <typename T, typename Memory>
class AttentionExam {
 public:
  AttentionExam(const AttentionCase& c, unsigned seed) : c_(c), d_(c.heads * c.width) {
    for (std::size_t b = 0; b + 1 < c.query_offsets.size(); ++b) {
      queries_ = std::max(queries_, c.query_offsets[b + 1] - c.query_offsets[b]);
      keys_ = std::max(keys_, c.key_offsets[b + 1] - c.key_offsets[b]);
    }
    q_ = random_elements<T>(c.query_offsets.back() * d_, seed);
    kv_ = random_elements<T>(c.key_offsets.back() * 2 * d_, seed + 1);
    g_ = random_elements<T>(c.query_offsets.back() * d_, seed + 2);
  }

  /// Runs the table's attention and its backward pass; `scratch`: floats that the inputs bring.
  /// Returns all results.
  std::vector<T> compare(const runtime::OpTable<T>& ops, double tolerance,
                         std::int64_t scratch = 0) const {
    using Array = typename Memory::template Array<T>;
    const Array q(q_), kv(kv_), g(g_), out(std::vector<T>(q_.size())),
        g_q(std::vector<T>(q_.size())), g_kv(std::vector<T>(kv_.size()));
    const typename Memory::template Array<std::int64_t> query_offsets(c_.query_offsets),
        key_offsets(c_.key_offsets);
    const typename Memory::template Array<float> room(std::vector<float>(
        static_cast<std::size_t>(scratch), std::numeric_limits<float>::quiet_NaN()));
    const op::AttentionInputs<T> inputs{.q = q.get(),
                                        .k = kv.get(),
                                        .v = kv.get() + d_,
                                        .q_stride = d_,
                                        .kv_stride = 2 * d_,
                                        .query_offsets = query_offsets.get(),
                                        .key_offsets = key_offsets.get(),
                                        .batch = std::ssize(c_.query_offsets) - 1,
                                        .heads = c_.heads,
                                        .queries = queries_,
                                        .keys = keys_,
                                        .width = c_.width,
                                        .rule = c_.rule,
                                        .scale = 0.25F,
                                        .dropout = {91, c_.rate},
                                        .scratch = room.get()};
    const op::AttentionBackward<T> backward{.inputs = inputs,
                                            .g = g.get(),
                                            .g_q = g_q.get(),
                                            .g_k = g_kv.get(),
                                            .g_v = g_kv.get() + d_};
    ops.run(op::Attention<T>{.inputs = inputs, .out = out.get()}, nullptr);
    ops.run(backward, nullptr);
    const ExpectedAttention want = expected(inputs.dropout);
    near(out.values(), d_, 0, want.out, tolerance, "out");
    near(g_q.values(), d_, 0, want.g_q, tolerance, "g_q");
    near(g_kv.values(), 2 * d_, 0, want.g_k, tolerance, "g_k");
    near(g_kv.values(), 2 * d_, d_, want.g_v, tolerance, "g_v");
    const std::vector<T> first = g_kv.values();
    ops.run(backward, nullptr);
    expect_same_bits(g_kv.values(), first, "the same again");
    std::vector<T> all = out.values();
    for (const std::vector<T>& more : {g_q.values(), first})
      all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  [[nodiscard]] std::int64_t queries() const { return queries_; }
  [[nodiscard]] std::int64_t keys() const { return keys_; }

 private:
  /// The largest difference over the largest value: rounding of 16-bit probabilities and results,
  /// not more.
  void near(const std::vector<T>& seen, std::int64_t stride, std::int64_t column,
            const std::vector<double>& want, double tolerance, const char* what) const {
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      const auto at = static_cast<std::size_t>(static_cast<std::int64_t>(i) / d_ * stride + column +
                                               static_cast<std::int64_t>(i) % d_);
      const double value = to_float(seen[at]);
      ASSERT_TRUE(std::isfinite(value)) << what << " at " << i;
      largest = std::max(largest, std::abs(want[i]));
      difference = std::max(difference, std::abs(value - want[i]));
    }
    EXPECT_LT(difference, tolerance * largest) << what;
  }

  [[nodiscard]] ExpectedAttention expected(Dropout dropout) const {
    ExpectedAttention e{std::vector<double>(q_.size()), std::vector<double>(q_.size()),
                        std::vector<double>(kv_.size() / 2), std::vector<double>(kv_.size() / 2)};
    const DropoutDraws draws(dropout);
    for (std::int64_t b = 0; b + 1 < std::ssize(c_.query_offsets); ++b) {
      for (std::int64_t h = 0; h < c_.heads; ++h) sentence(e, draws, b, h);
    }
    return e;
  }
  void sentence(ExpectedAttention& e, const DropoutDraws& draws, std::int64_t b,
                std::int64_t h) const {
    const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    const std::int64_t q0 = c_.query_offsets[at(b)], k0 = c_.key_offsets[at(b)],
                       keys = c_.key_offsets[at(b + 1)] - k0;
    for (std::int64_t t = 0; t < c_.query_offsets[at(b + 1)] - q0; ++t) {
      const runtime::PositionRange seen = c_.rule.keys(t, keys);
      const std::int64_t n = seen.end - seen.begin, row = (q0 + t) * d_ + h * c_.width;
      const auto key = [&](std::int64_t s, std::int64_t k) {
        return (k0 + seen.begin + s) * 2 * d_ + h * c_.width + k;
      };
      std::vector<double> p(at(n)), factor(at(n)), g_p(at(n));
      double top = -1e30, sum = 0, dot = 0;
      for (std::int64_t s = 0; s < n; ++s) {
        for (std::int64_t k = 0; k < c_.width; ++k)
          p[at(s)] += 0.25 * to_float(q_[at(row + k)]) * to_float(kv_[at(key(s, k))]);
        p[at(s)] += c_.rule.bias(h, t, seen.begin + s);
        top = std::max(top, p[at(s)]);
      }
      for (double& x : p) sum += x = std::exp(x - top);
      for (std::int64_t s = 0; s < n; ++s) {
        p[at(s)] /= sum;
        factor[at(s)] =
            dropout_factor(draws, ((b * c_.heads + h) * queries_ + t) * keys_ + seen.begin + s);
        for (std::int64_t k = 0; k < c_.width; ++k) {
          const double v = to_float(kv_[at(key(s, k) + d_)]), g = to_float(g_[at(row + k)]);
          e.out[at(row + k)] += p[at(s)] * factor[at(s)] * v;
          e.g_v[at((k0 + seen.begin + s) * d_ + h * c_.width + k)] += p[at(s)] * factor[at(s)] * g;
          g_p[at(s)] += g * v * factor[at(s)];
        }
        dot += p[at(s)] * g_p[at(s)];
      }
      for (std::int64_t s = 0; s < n; ++s) {
        const double g_score = p[at(s)] * (g_p[at(s)] - dot) * 0.25;
        for (std::int64_t k = 0; k < c_.width; ++k) {
          e.g_q[at(row + k)] += g_score * to_float(kv_[at(key(s, k))]);
          e.g_k[at((k0 + seen.begin + s) * d_ + h * c_.width + k)] +=
              g_score * to_float(q_[at(row + k)]);
        }
      }
    }
  }
  [[nodiscard]] double dropout_factor(const DropoutDraws& draws, std::int64_t place) const {
    return c_.rate == 0.0F ? 1.0 : draws.factor(place);
  }

  const AttentionCase& c_;
  std::int64_t d_, queries_ = 0, keys_ = 0;
  std::vector<T> q_, kv_, g_;
};

[[nodiscard]] inline const char* name_of(runtime::ScoreRule rule) {
  constexpr const char* kNames[] = {"full", "causal", "local", "local cross"};
  return kNames[static_cast<int>(rule.kind)];
}

}  // namespace th::reference
