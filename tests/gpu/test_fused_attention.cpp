#include "gpu_memory.hpp"
#include "kernels.hpp"
#include "model_kernel_exam.hpp"

#include <algorithm>
#include <cmath>

// Fused attention on a GPU against the same formulas in fp64: sentences of unlike lengths, self and cross attention, masks, draws.
namespace th::cuda {
namespace {

struct Case {
  std::vector<std::int64_t> query_offsets, key_offsets;
  std::int64_t heads, width;
  bool causal;
  float rate;
};

/// Forward and gradients of one case, in fp64.
struct Expected {
  std::vector<double> out, g_q, g_k, g_v;
};

template <typename T>
class Exam {
 public:
  Exam(const Case& c, unsigned seed) : c_(c), d_(c.heads * c.width) {
    for (std::size_t b = 0; b + 1 < c.query_offsets.size(); ++b) {
      queries_ = std::max(queries_, c.query_offsets[b + 1] - c.query_offsets[b]);
      keys_ = std::max(keys_, c.key_offsets[b + 1] - c.key_offsets[b]);
    }
    q_ = reference::random_elements<T>(c.query_offsets.back() * d_, seed);
    kv_ = reference::random_elements<T>(c.key_offsets.back() * 2 * d_, seed + 1);
    g_ = reference::random_elements<T>(c.query_offsets.back() * d_, seed + 2);
  }

  void compare(const runtime::ModelKernels<T>& kernels, double tolerance) const {
    const GpuArray<T> q(q_), kv(kv_), g(g_), out(std::vector<T>(q_.size())), g_q(std::vector<T>(q_.size())), g_kv(std::vector<T>(kv_.size()));
    const GpuArray<std::int64_t> query_offsets(c_.query_offsets), key_offsets(c_.key_offsets);
    const runtime::AttentionOperands<T> o{.q = q.get(),
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
                                          .causal = c_.causal,
                                          .scale = 0.25F,
                                          .dropout = {91, c_.rate}};
    kernels.attention(o, out.get(), nullptr);
    kernels.attention_backward(o, g.get(), g_q.get(), g_kv.get(), g_kv.get() + d_, nullptr);
    const Expected want = expected(o.dropout);
    near(out.values(), d_, 0, want.out, tolerance, "out");
    near(g_q.values(), d_, 0, want.g_q, tolerance, "g_q");
    near(g_kv.values(), 2 * d_, 0, want.g_k, tolerance, "g_k");
    near(g_kv.values(), 2 * d_, d_, want.g_v, tolerance, "g_v");
    const std::vector<T> first = g_kv.values();
    kernels.attention_backward(o, g.get(), g_q.get(), g_kv.get(), g_kv.get() + d_, nullptr);
    reference::expect_same_bits(g_kv.values(), first, "the same again");
  }

 private:
  /// The largest difference over the largest value: rounding of 16-bit probabilities and results, not more.
  void near(const std::vector<T>& seen, std::int64_t stride, std::int64_t column, const std::vector<double>& want, double tolerance, const char* what) const {
    double largest = 0, difference = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      const auto at = static_cast<std::size_t>(static_cast<std::int64_t>(i) / d_ * stride + column + static_cast<std::int64_t>(i) % d_);
      const double value = to_float(seen[at]);
      ASSERT_TRUE(std::isfinite(value)) << what << " at " << i;
      largest = std::max(largest, std::abs(want[i]));
      difference = std::max(difference, std::abs(value - want[i]));
    }
    EXPECT_LT(difference, tolerance * largest) << what;
  }

  [[nodiscard]] Expected expected(Dropout dropout) const {
    Expected e{std::vector<double>(q_.size()), std::vector<double>(q_.size()), std::vector<double>(kv_.size() / 2), std::vector<double>(kv_.size() / 2)};
    const DropoutDraws draws(dropout);
    for (std::int64_t b = 0; b + 1 < std::ssize(c_.query_offsets); ++b) {
      for (std::int64_t h = 0; h < c_.heads; ++h) sentence(e, draws, b, h);
    }
    return e;
  }
  void sentence(Expected& e, const DropoutDraws& draws, std::int64_t b, std::int64_t h) const {
    const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    const std::int64_t q0 = c_.query_offsets[at(b)], k0 = c_.key_offsets[at(b)], keys = c_.key_offsets[at(b + 1)] - k0;
    for (std::int64_t t = 0; t < c_.query_offsets[at(b + 1)] - q0; ++t) {
      const std::int64_t n = c_.causal ? std::min(t + 1, keys) : keys, row = (q0 + t) * d_ + h * c_.width;
      const auto key = [&](std::int64_t s, std::int64_t k) { return (k0 + s) * 2 * d_ + h * c_.width + k; };
      std::vector<double> p(at(n)), factor(at(n)), g_p(at(n));
      double top = -1e30, sum = 0, dot = 0;
      for (std::int64_t s = 0; s < n; ++s) {
        for (std::int64_t k = 0; k < c_.width; ++k) p[at(s)] += 0.25 * to_float(q_[at(row + k)]) * to_float(kv_[at(key(s, k))]);
        top = std::max(top, p[at(s)]);
      }
      for (double& x : p) sum += x = std::exp(x - top);
      for (std::int64_t s = 0; s < n; ++s) {
        p[at(s)] /= sum;
        factor[at(s)] = dropout_factor(draws, ((b * c_.heads + h) * queries_ + t) * keys_ + s);
        for (std::int64_t k = 0; k < c_.width; ++k) {
          const double v = to_float(kv_[at(key(s, k) + d_)]), g = to_float(g_[at(row + k)]);
          e.out[at(row + k)] += p[at(s)] * factor[at(s)] * v;
          e.g_v[at((k0 + s) * d_ + h * c_.width + k)] += p[at(s)] * factor[at(s)] * g;
          g_p[at(s)] += g * v * factor[at(s)];
        }
        dot += p[at(s)] * g_p[at(s)];
      }
      for (std::int64_t s = 0; s < n; ++s) {
        const double g_score = p[at(s)] * (g_p[at(s)] - dot) * 0.25;
        for (std::int64_t k = 0; k < c_.width; ++k) {
          e.g_q[at(row + k)] += g_score * to_float(kv_[at(key(s, k))]);
          e.g_k[at((k0 + s) * d_ + h * c_.width + k)] += g_score * to_float(q_[at(row + k)]);
        }
      }
    }
  }
  [[nodiscard]] double dropout_factor(const DropoutDraws& draws, std::int64_t place) const { return c_.rate == 0.0F ? 1.0 : draws.factor(place); }

  const Case& c_;
  std::int64_t d_, queries_ = 0, keys_ = 0;
  std::vector<T> q_, kv_, g_;
};

template <typename T>
void examine(const runtime::ModelKernels<T>& kernels, double tolerance) {
  if (kernels.attention == nullptr) GTEST_SKIP() << "a block of this GPU has too little memory";
  const std::vector<std::int64_t> some{0, 17, 18, 50, 82}, others{0, 5, 45, 61, 64}, lone{0, 96};
  for (const float rate : {0.0F, 0.2F}) {
    for (const Case& c : {Case{some, some, 3, 64, false, rate}, Case{some, some, 2, 64, true, rate}, Case{some, others, 2, 32, false, rate},
                          Case{others, some, 1, 16, false, rate}, Case{lone, lone, 2, 64, true, rate}}) {
      SCOPED_TRACE(testing::Message() << c.heads << " heads of " << c.width << (c.causal ? ", causal" : "") << ", dropout " << rate);
      ASSERT_TRUE(runtime::fuses_attention(c.query_offsets.back() > 90 ? 96 : 40, c.key_offsets.back() > 90 ? 96 : 40, c.width));
      Exam<T>(c, 5).compare(kernels, tolerance);
    }
  }
}

TEST(FusedAttention, IsThatOfTheFormulasInBf16) { examine(model_kernels_bf16(), 0.02); }
TEST(FusedAttention, IsThatOfTheFormulasInFp16) { examine(model_kernels_fp16(), 0.004); }
TEST(FusedAttention, RefusesWhatIsTooLong) {
  runtime::AttentionOperands<Bf16> o;
  o.batch = o.heads = 1;
  o.queries = o.keys = 4096;
  o.width = 64;
  if (model_kernels_bf16().attention == nullptr) GTEST_SKIP() << "a block of this GPU has too little memory";
  EXPECT_THROW(model_kernels_bf16().attention(o, nullptr, nullptr), InternalError);
}

}  // namespace
}  // namespace th::cuda
