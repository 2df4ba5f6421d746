#include "th/train/loss_scale.hpp"

namespace th::train {

LossScale::Verdict LossScale::update(bool overflow) noexcept {
  if (!overflow) {
    if (++state_.good_steps < window_) return Verdict::kFine;
    state_ = {state_.scale * 2, 0, hysteresis_};
    return Verdict::kFine;
  }
  state_.good_steps = 0;
  if (state_.hysteresis > 1) {
    --state_.hysteresis;
    return Verdict::kKept;
  }
  if (state_.scale / 2 < smallest_) return Verdict::kExhausted;
  state_.scale /= 2;
  return state_.scale < 1 ? Verdict::kBelowOne : Verdict::kHalved;
}

double initial_loss_scale(const config::RunConfig& config) {
  return config.precision.dtype == ElementType::kFp16 ? config.precision.loss_scale : 1.0;
}

}  // namespace th::train
