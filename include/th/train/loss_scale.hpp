#pragma once

#include <cstdint>

#include "th/config/run_config.hpp"
#include "th/train/run_state.hpp"

namespace th::train {

/// Dynamic loss scaling for fp16 (Micikevicius et al. 2018, 4.2): the loss is multiplied by a power
/// of two so that small gradients do not vanish. An overflow uses up the hysteresis first and then
/// halves the scale; `window` steps without one double it and restore the hysteresis. It is never
/// halved below the smallest one, after which there is no way out.
class LossScale {
 public:
  using State = LossScaleState;

  enum class Verdict { kFine, kKept, kHalved, kBelowOne, kExhausted };

  explicit LossScale(const config::PrecisionSection& precision)
      : state_{precision.loss_scale, 0, precision.loss_scale_hysteresis},
        window_(precision.loss_scale_window),
        hysteresis_(precision.loss_scale_hysteresis),
        smallest_(precision.loss_scale_min) {}

  [[nodiscard]] double scale() const noexcept { return state_.scale; }
  [[nodiscard]] const State& state() const noexcept { return state_; }
  void restore(const State& state) noexcept { state_ = state; }
  /// After a step: what became of the scale. kExhausted: it would have to fall below the smallest
  /// one, and is left.
  Verdict update(bool overflow) noexcept;

 private:
  State state_;
  std::int64_t window_, hysteresis_;
  double smallest_;
};

/// precision.loss_scale for fp16, else 1.
[[nodiscard]] double initial_loss_scale(const config::RunConfig& config);

}  // namespace th::train
