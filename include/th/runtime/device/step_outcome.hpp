#pragma once

#include <cmath>
#include <cstdint>

#include "th/base/host_device.hpp"

namespace th::runtime {

/// How a step ended. All members but bad_element are the same on every rank.
struct StepOutcome {
  double loss_sum = 0;   ///< over all slots, added in slot order
  double grad_norm = 0;  ///< of the mean gradient, without loss scale, before clipping
  /// The factor of the gradients in the update, which clips them and removes the loss scale.
  float gradient_factor = 1;
  std::int32_t finite = 1;     ///< 1 if loss and norm are finite; otherwise nothing is updated
  std::int64_t bad_unit = -1;  ///< the first unit with a gradient that is not finite; -1: none
  /// The index of that element among the unit's padded elements, on the rank whose shard has it; -1
  /// on others.
  std::int64_t bad_element = -1;
};

/// Makes norm, factor and verdict from the sums. `clip`: the largest norm, 0 for none
/// (torch.nn.utils.clip_grad_norm_'s formula).
TH_HOST_DEVICE inline void conclude(StepOutcome& outcome, double square_sum, double clip,
                                    double loss_scale) {
  outcome.grad_norm = std::sqrt(square_sum) / loss_scale;
  outcome.finite = std::isfinite(outcome.loss_sum) && std::isfinite(outcome.grad_norm) ? 1 : 0;
  double factor = 1.0;
  if (clip > 0) {
    const double wanted = clip / (outcome.grad_norm + 1e-6);
    factor = wanted < factor ? wanted : factor;
  }
  outcome.gradient_factor = static_cast<float>(factor / loss_scale);
}

}  // namespace th::runtime
