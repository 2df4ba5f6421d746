#include "th/zero/optimizer.hpp"

#include "th/zero/flat_layout.hpp"

#include <cmath>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define TH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TH_CLONES
#endif

namespace th::zero {

namespace {

struct AdamFactors {
  float gradient, beta1, one_minus_beta1, beta2, one_minus_beta2, inverse_root_correction2, eps, step_size, decay, l2;
};

TH_CLONES void adam(const AdamFactors& f, float* p, const float* g, float* m, float* v, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const float gradient = g[i] * f.gradient + p[i] * f.l2;
    const float first = m[i] * f.beta1 + gradient * f.one_minus_beta1;
    const float second = v[i] * f.beta2 + gradient * gradient * f.one_minus_beta2;
    const float denominator = std::sqrt(second) * f.inverse_root_correction2 + f.eps;
    m[i] = first;
    v[i] = second;
    p[i] = p[i] * f.decay - f.step_size * (first / denominator);
  }
}

TH_CLONES void sgd(float factor, float decay, float lr, float* p, const float* g, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) p[i] -= lr * (g[i] * factor + p[i] * decay);
}

}  // namespace

void apply_optimizer(const OptimizerStep& step, float* parameters, const float* gradients, float* exp_avg, float* exp_avg_sq, std::int64_t count) {
  const config::OptimizerSection& o = step.settings;
  const auto decay = static_cast<float>(o.weight_decay);
  if (o.name == config::OptimizerKind::kSgd) {
    sgd(static_cast<float>(step.gradient_factor), decay, static_cast<float>(step.lr), parameters, gradients, count);
    return;
  }
  const double correction1 = 1.0 - std::pow(o.beta1, static_cast<double>(step.step));
  const double correction2 = 1.0 - std::pow(o.beta2, static_cast<double>(step.step));
  const bool decoupled = o.name == config::OptimizerKind::kAdamw;
  const AdamFactors factors{static_cast<float>(step.gradient_factor),
                            static_cast<float>(o.beta1),
                            static_cast<float>(1.0 - o.beta1),
                            static_cast<float>(o.beta2),
                            static_cast<float>(1.0 - o.beta2),
                            static_cast<float>(1.0 / std::sqrt(correction2)),
                            static_cast<float>(o.eps),
                            static_cast<float>(step.lr / correction1),
                            decoupled ? static_cast<float>(1.0 - step.lr * o.weight_decay) : 1.0F,
                            decoupled ? 0.0F : decay};
  adam(factors, parameters, gradients, exp_avg, exp_avg_sq, count);
}

TH_CLONES void block_square_sums(const float* x, std::int64_t blocks, double* out) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    double lanes[8] = {};
    for (std::int64_t i = 0; i < FlatLayout::kBlock; i += 8) {
      for (int l = 0; l < 8; ++l) {
        const double value = static_cast<double>(x[b * FlatLayout::kBlock + i + l]);
        lanes[l] += value * value;
      }
    }
    out[b] = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }
}

}  // namespace th::zero
