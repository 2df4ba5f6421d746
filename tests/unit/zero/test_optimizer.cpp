#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "th/base/hash.hpp"
#include "th/zero/optimizer.hpp"

namespace th::zero {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats values(std::uint64_t seed, std::size_t count, double scale) {
  Floats out(count);
  for (std::size_t i = 0; i < count; ++i)
    out[i] = static_cast<float>(scale *
                                (static_cast<double>(hash_pair(seed, i) >> 11) * 0x1.0p-52 - 1.0));
  return out;
}

struct AdamStates {
  Floats p, m, v;
  explicit AdamStates(std::size_t n) : p(values(1, n, 0.5)), m(n, 0.0F), v(n, 0.0F) {}
};

OptimizerStep step_of(config::OptimizerKind kind, double decay, std::int64_t step) {
  OptimizerStep s;
  s.settings.name = kind;
  s.settings.weight_decay = decay;
  if (kind == config::OptimizerKind::kSgdMomentum) {
    s.settings.name = config::OptimizerKind::kSgd;
    s.settings.momentum = 0.9;
  }
  s.lr = 1e-3;
  s.gradient_factor = 0.7;
  s.step = step;
  return s;
}

/// The step on `count` elements, as the engine takes it.
void update(const OptimizerStep& step, float* p, const float* g, float* m, float* v,
            std::int64_t count) {
  apply_update(update_factors(step),
               {.weights = p, .gradients = g, .states = {m, v}, .count = count});
}

bool same_bits(const Floats& a, const Floats& b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<config::OptimizerKind> all_kinds() {
  std::vector<config::OptimizerKind> out;
  for (std::size_t i = 0; i < runtime::kOptimizers; ++i)
    out.push_back(static_cast<config::OptimizerKind>(i));
  return out;
}

/// Largest |got - want| in units of `unit`.
double largest_error(const Floats& got, const Doubles& want, double unit) {
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(got[i]) - want[i]) / unit);
  return most;
}

/// PyTorch's single-tensor Adam and AdamW, written out in fp64: weight decay is added to the
/// gradient, or shrinks the parameter first.
void adam_in_fp64(const OptimizerStep& s, Doubles& p, const Floats& g, Doubles& m, Doubles& v) {
  const auto& o = s.settings;
  const double bias1 = 1 - std::pow(o.beta1, static_cast<double>(s.step));
  const double bias2 = 1 - std::pow(o.beta2, static_cast<double>(s.step));
  for (std::size_t i = 0; i < p.size(); ++i) {
    double gradient = static_cast<double>(g[i]) * s.gradient_factor;
    if (o.name == config::OptimizerKind::kAdamw) p[i] *= 1 - s.lr * o.weight_decay;
    if (o.name == config::OptimizerKind::kAdam) gradient += o.weight_decay * p[i];
    m[i] = o.beta1 * m[i] + (1 - o.beta1) * gradient;
    v[i] = o.beta2 * v[i] + (1 - o.beta2) * gradient * gradient;
    p[i] -= s.lr / bias1 * m[i] / (std::sqrt(v[i]) / std::sqrt(bias2) + o.eps);
  }
}

class AdamKinds : public testing::TestWithParam<std::pair<config::OptimizerKind, double>> {};

// fp32 with one rounding an operation: a step of at most ~3 lr is off by a few 2^-24 of itself, the
// parameter by half an ulp (2^-24 of at most 1) a step; over 20 steps 20 * (2^-25 + 3e-3 * 2^-21) <
// 8e-7.
TEST_P(AdamKinds, TwentyStepsFollowTheFormula) {
  const auto [kind, decay] = GetParam();
  AdamStates state(1000);
  Doubles p(state.p.begin(), state.p.end()), m(1000, 0.0), v(1000, 0.0);
  for (std::int64_t step = 1; step <= 20; ++step) {
    const Floats g = values(100 + static_cast<std::uint64_t>(step), 1000,
                            std::pow(10.0, static_cast<double>(step % 5) - 3.0));
    const OptimizerStep s = step_of(kind, decay, step);
    update(s, state.p.data(), g.data(), state.m.data(), state.v.data(), 1000);
    adam_in_fp64(s, p, g, m, v);
  }
  EXPECT_LT(largest_error(state.p, p, 1.0), 8e-7);
  EXPECT_LT(largest_error(state.m, m, 1.0), 20 * 0x1.0p-24 * 2);  // |m| stays below 2
  EXPECT_LT(largest_error(state.v, v, 1.0), 20 * 0x1.0p-24 * 2);
}

// The same steps by LibTorch's own fused operator in fp64.
TEST_P(AdamKinds, TwentyStepsFollowLibTorch) {
  const auto [kind, decay] = GetParam();
  AdamStates state(512);
  at::Tensor p = at::from_blob(state.p.data(), {512}).to(at::kDouble);
  at::Tensor m = at::zeros_like(p), v = at::zeros_like(p), count = at::zeros({}, at::kFloat);
  for (std::int64_t step = 1; step <= 20; ++step) {
    Floats g = values(300 + static_cast<std::uint64_t>(step), 512, 0.1);
    OptimizerStep s = step_of(kind, decay, step);
    s.gradient_factor = 1;
    update(s, state.p.data(), g.data(), state.m.data(), state.v.data(), 512);
    const at::Tensor gradient = at::from_blob(g.data(), {512}).to(at::kDouble);
    count += 1;
    const auto& o = s.settings;
    if (kind == config::OptimizerKind::kAdam) {
      at::_fused_adam_({p}, {gradient}, {m}, {v}, {}, {count}, s.lr, o.beta1, o.beta2, decay, o.eps,
                       false, false);
    } else {
      at::_fused_adamw_({p}, {gradient}, {m}, {v}, {}, {count}, s.lr, o.beta1, o.beta2, decay,
                        o.eps, false, false);
    }
  }
  const at::Tensor got = at::from_blob(state.p.data(), {512}).to(at::kDouble);
  EXPECT_LT((got - p).abs().max().item<double>(), 8e-7);  // as above
}

INSTANTIATE_TEST_SUITE_P(Optimizer, AdamKinds,
                         testing::Values(std::pair{config::OptimizerKind::kAdam, 0.0},
                                         std::pair{config::OptimizerKind::kAdam, 0.01},
                                         std::pair{config::OptimizerKind::kAdamw, 0.0},
                                         std::pair{config::OptimizerKind::kAdamw, 0.1}));

TEST(Optimizer, FirstStepOfAdamIsTheLearningRateAgainstTheGradientsSign) {
  AdamStates state(64);
  const Floats before = state.p;
  const Floats g = values(7, 64, 1.0);
  update(step_of(config::OptimizerKind::kAdam, 0.0, 1), state.p.data(), g.data(), state.m.data(),
         state.v.data(), 64);
  for (std::size_t i = 0; i < 64; ++i) {
    const double moved = static_cast<double>(state.p[i]) - static_cast<double>(before[i]);
    // eps is far below |g|; one ulp of a parameter below 1 is 6e-8.
    EXPECT_NEAR(moved, g[i] > 0 ? -1e-3 : 1e-3, 1e-7) << i;
  }
}

TEST(Optimizer, AZeroGradientFromTheStartMovesNothing) {
  for (const auto kind :
       {config::OptimizerKind::kAdam, config::OptimizerKind::kAdamw, config::OptimizerKind::kSgd}) {
    AdamStates state(48);
    const Floats before = state.p;
    const Floats g(48, 0.0F);
    update(step_of(kind, 0.0, 1), state.p.data(), g.data(), state.m.data(), state.v.data(), 48);
    EXPECT_TRUE(same_bits(state.p, before));
  }
}

TEST(Optimizer, SgdFollowsTheFormulaAndTouchesNoMoments) {
  for (const double decay : {0.0, 0.1}) {
    AdamStates state(333);
    const Floats before = state.p;
    const Floats g = values(9, 333, 2.0);
    update(step_of(config::OptimizerKind::kSgd, decay, 5), state.p.data(), g.data(), nullptr,
           nullptr, 333);
    for (std::size_t i = 0; i < 333; ++i) {
      const double p = static_cast<double>(before[i]);
      const double want = p - 1e-3 * (static_cast<double>(g[i]) * 0.7 + decay * p);
      // Half an ulp of the parameter and three roundings of a small step.
      EXPECT_NEAR(static_cast<double>(state.p[i]), want, 1e-7) << i;
    }
  }
}

/// torch.optim.SGD in fp64, written out as in its documentation, where the first buffer is the
/// first gradient.
void sgd_in_fp64(const OptimizerStep& s, bool nesterov, Doubles& p, const Floats& g,
                 Doubles& buffer) {
  for (std::size_t i = 0; i < p.size(); ++i) {
    double gradient = static_cast<double>(g[i]) * s.gradient_factor;
    gradient += s.settings.weight_decay * p[i];
    buffer[i] = s.step > 1 ? s.settings.momentum * buffer[i] + gradient : gradient;
    gradient = nesterov ? gradient + s.settings.momentum * buffer[i] : buffer[i];
    p[i] -= s.lr * gradient;
  }
}

TEST(Optimizer, SgdWithMomentumFollowsTheFormula) {
  for (const bool nesterov : {false, true}) {
    for (const double decay : {0.0, 0.1}) {
      AdamStates state(500);
      Doubles p(state.p.begin(), state.p.end()), buffer(500, 0.0);
      for (std::int64_t step = 1; step <= 20; ++step) {
        OptimizerStep s = step_of(config::OptimizerKind::kSgdMomentum, decay, step);
        s.settings.nesterov = nesterov ? runtime::Nesterov::kTrue : runtime::Nesterov::kAuto;
        const Floats g = values(60 + static_cast<std::uint64_t>(step), 500, 1.0);
        update(s, state.p.data(), g.data(), state.m.data(), nullptr, 500);
        sgd_in_fp64(s, nesterov, p, g, buffer);
      }
      EXPECT_LT(largest_error(state.p, p, 1.0), 20 * 0x1.0p-24);  // half an ulp a step, and less
      EXPECT_LT(largest_error(state.m, buffer, 1.0), 20 * 0x1.0p-22);  // |buffer| stays below 8
    }
  }
}

/// Weights and the states of any optimizer.
struct Buffers {
  std::vector<Floats> all;
  Buffers(config::OptimizerKind kind, std::size_t n) : all{values(1, n, 0.5)} {
    all.resize(1 + runtime::optimizer_states(kind).size(), Floats(n, 0.0F));
  }
  [[nodiscard]] runtime::UpdateOperands operands(std::size_t at, const float* gradients,
                                                 std::size_t n) {
    runtime::UpdateOperands out{.weights = all[0].data() + at,
                                .gradients = gradients + at,
                                .count = static_cast<std::int64_t>(n)};
    for (std::size_t s = 1; s < all.size(); ++s) out.states[s - 1] = all[s].data() + at;
    return out;
  }
  bool operator==(const Buffers&) const = default;
};

TEST(Optimizer, AnySplitOfTheBufferGivesTheSameBits) {
  constexpr std::size_t kCount = 5000;
  for (const config::OptimizerKind kind : all_kinds()) {
    if (kind == config::OptimizerKind::kAdafactor) continue;  // has no formula for an element
    Buffers whole(kind, kCount);
    for (std::int64_t step = 1; step <= 3; ++step) {
      const Floats g = values(40 + static_cast<std::uint64_t>(step), kCount, 0.3);
      apply_update(update_factors(step_of(kind, 0.01, step)), whole.operands(0, g.data(), kCount));
    }
    EXPECT_NE(whole.all[0], Buffers(kind, kCount).all[0]);
    for (const std::size_t multiple : {16U, 256U, 1U}) {
      Buffers parts(kind, kCount);
      for (std::int64_t step = 1; step <= 3; ++step) {
        const Floats g = values(40 + static_cast<std::uint64_t>(step), kCount, 0.3);
        for (std::size_t at = 0, cut = 0; at < kCount; ++cut) {
          const std::size_t n =
              std::min<std::size_t>(multiple * (1 + hash_pair(multiple, cut) % 9), kCount - at);
          apply_update(update_factors(step_of(kind, 0.01, step)), parts.operands(at, g.data(), n));
          at += n;
        }
      }
      EXPECT_TRUE(parts == whole) << runtime::optimizer_name(kind) << ", cuts at multiples of "
                                  << multiple;
    }
  }
}

TEST(BlockSquareSums, AgreeWithTheSumOfSquares) {
  const Floats x = values(11, 256 * 9, 3.0);
  Doubles out(9);
  block_square_sums(x.data(), 9, out.data());
  for (std::size_t b = 0; b < 9; ++b) {
    long double want = 0;
    for (std::size_t i = 0; i < 256; ++i)
      want += static_cast<long double>(x[b * 256 + i]) * static_cast<long double>(x[b * 256 + i]);
    // 32 additions in a lane, 3 in the tree.
    EXPECT_NEAR(out[b], static_cast<double>(want), 40 * 0x1.0p-53 * static_cast<double>(want));
  }
}

TEST(BlockSquareSums, ABlocksBitsDoNotDependOnItsNeighbours) {
  const Floats x = values(12, 256 * 7, 1.0);
  Doubles whole(7), single(7);
  block_square_sums(x.data(), 7, whole.data());
  for (std::size_t b = 0; b < 7; ++b) block_square_sums(x.data() + b * 256, 1, single.data() + b);
  EXPECT_EQ(whole, single);
}

TEST(BlockSquareSums, LargeGradientsDoNotOverflow) {
  const Floats x(256, 3e38F);
  double out = 0;
  block_square_sums(x.data(), 1, &out);
  EXPECT_NEAR(out, 256 * 9e76, 256 * 9e76 * 1e-6);  // 3e38 itself is rounded to fp32
}

}  // namespace
}  // namespace th::zero
