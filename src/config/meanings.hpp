#pragma once

#include "th/config/run_config.hpp"

namespace th::config {

/// The momentum that the deck's optimizer takes where optimizer.momentum is auto; negative: it has
/// none (unit.config compares it with the rules).
[[nodiscard]] double usual_momentum(OptimizerKind name);
/// The same for optimizer.nesterov, beside that momentum.
[[nodiscard]] runtime::Nesterov usual_nesterov(OptimizerKind name, double momentum);

/// The configuration with what its words stand for: auto, and "as that other key". Of words that a
/// machine or a launch decides (run.device, comm.overlap, …) nothing is known here, and they stay.
[[nodiscard]] RunConfig with_meanings(RunConfig config);

}  // namespace th::config
