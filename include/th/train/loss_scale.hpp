#pragma once

#include <cstdint>

#include "th/config/run_config.hpp"
#include "th/train/run_state.hpp"

namespace th::train {

/// Dynamic loss scaling for fp16 (Micikevicius et al. 2018, 4.2): the loss is multiplied by a power
/// of two so that small gradients do not vanish. Overflows first use up the hysteresis, and then
/// each one halves the scale. `window` steps without overflow double the scale and restore the
/// hysteresis. If the scale would have to fall below the smallest one, the run must end.
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
  /// Updates the scale after a step and says how. kExhausted: the scale would have to fall below
  /// the smallest one, and is left unchanged.
  Verdict update(bool overflow) noexcept;

 private:
  State state_;
  std::int64_t window_, hysteresis_;
  double smallest_;
};

/// precision.loss_scale for fp16, otherwise 1.
[[nodiscard]] double initial_loss_scale(const config::RunConfig& config);

}  // namespace th::train
