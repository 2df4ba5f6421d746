#pragma once

#include <array>
#include <cmath>
#include <tuple>

#include "th/base/host_device.hpp"
#include "th/runtime/optimizers/optimizer_rule.hpp"

namespace th::runtime {

/// Adam (Kingma, Ba 2015, algorithm 1, with bias correction). Weight decay is L2: it is added to
/// the gradient.
struct Adam {
  static constexpr const char* kName = "adam";
  static constexpr std::array kStates{"exp_avg", "exp_avg_sq"};
  static constexpr std::tuple kReads{&OptimizerSettings::beta1, &OptimizerSettings::beta2,
                                     &OptimizerSettings::eps, &OptimizerSettings::weight_decay};

  struct Factors {
    float beta1, one_minus_beta1, beta2, one_minus_beta2, inverse_root_correction2, eps, step_size,
        decay, l2;

    TH_HOST_DEVICE void update(float gradient, float& weight, float& exp_avg,
                               float& exp_avg_sq) const {
      const float decayed = gradient + weight * l2;
      const float first = exp_avg * beta1 + decayed * one_minus_beta1;
      const float second = exp_avg_sq * beta2 + decayed * decayed * one_minus_beta2;
      const float denominator = sqrtf(second) * inverse_root_correction2 + eps;
      exp_avg = first;
      exp_avg_sq = second;
      weight = weight * decay - step_size * (first / denominator);
    }
  };

  [[nodiscard]] static Factors factors(const StepNumbers& numbers) {
    Factors out = without_decay(numbers);
    out.l2 = static_cast<float>(numbers.settings.weight_decay);
    return out;
  }

 protected:
  [[nodiscard]] static Factors without_decay(const StepNumbers& numbers) {
    const OptimizerSettings& s = numbers.settings;
    const double correction1 = 1.0 - std::pow(s.beta1, static_cast<double>(numbers.step));
    const double correction2 = 1.0 - std::pow(s.beta2, static_cast<double>(numbers.step));
    return {.beta1 = static_cast<float>(s.beta1),
            .one_minus_beta1 = static_cast<float>(1.0 - s.beta1),
            .beta2 = static_cast<float>(s.beta2),
            .one_minus_beta2 = static_cast<float>(1.0 - s.beta2),
            .inverse_root_correction2 = static_cast<float>(1.0 / std::sqrt(correction2)),
            .eps = static_cast<float>(s.eps),
            .step_size = static_cast<float>(numbers.lr / correction1),
            .decay = 1.0F,
            .l2 = 0.0F};
  }
};

/// AdamW (Loshchilov, Hutter 2019): Adam whose weight decay shrinks the weights themselves.
struct AdamW : Adam {
  static constexpr const char* kName = "adamw";

  [[nodiscard]] static Factors factors(const StepNumbers& numbers) {
    Factors out = without_decay(numbers);
    out.decay = static_cast<float>(1.0 - numbers.lr * numbers.settings.weight_decay);
    return out;
  }
};

}  // namespace th::runtime
