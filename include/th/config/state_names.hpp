#pragma once

#include <vector>

#include "th/config/run_config.hpp"

namespace th::config {

/// The rule of the deck's optimizer. If several rules share its name, the settings choose one.
[[nodiscard]] OptimizerKind optimizer_rule(const RunConfig& config);

/// The moving average of the parameters (train.ema_decay), beside the states' names.
inline constexpr const char* kAverageName = "ema";

/// The names of what a rank stores beside the parameters, each with one value a parameter: the
/// optimizer's states in the order of its rule, then the moving average if the deck asks for it.
/// Plan, ledger and checkpoints use these names.
[[nodiscard]] std::vector<const char*> state_names(const RunConfig& config);

}  // namespace th::config
