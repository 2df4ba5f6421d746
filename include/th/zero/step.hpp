#pragma once

#include <cstdint>
#include <string>

#include "th/runtime/observe/flight_record.hpp"

namespace th::zero {

/// The result of one optimizer step, the same on every rank.
struct StepResult {
  double loss_sum = 0;     ///< over all slots, added in slot order
  double grad_norm = 0;    ///< of the mean gradient, loss scale taken out, before clipping
  std::string not_finite;  ///< where the norm is not finite: the first tensor with such a gradient,
                           ///< in the layout's order; else empty
};

/// The trainer's numbers for a step's end.
struct StepRequest {
  double lr = 0;
  std::int64_t optimizer_step = 1;  ///< counts from 1, of the steps that updated
  double loss_scale = 1;            ///< the gradients were multiplied by it
};

/// A rank's pass over a slot.
struct SlotPass {
  std::int64_t round = 0;
  std::int64_t slot = runtime::FlightRecord::kNone;  ///< kNone: this rank has none in the round
  bool last_round = false;
  [[nodiscard]] bool idle() const noexcept { return slot == runtime::FlightRecord::kNone; }
};

}  // namespace th::zero
