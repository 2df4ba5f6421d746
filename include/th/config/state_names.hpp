#pragma once

#include <vector>

#include "th/config/run_config.hpp"

namespace th::config {

/// The rule of the deck's optimizer: of those that share its name the one that its settings ask
/// for.
[[nodiscard]] OptimizerKind optimizer_rule(const RunConfig& config);

/// The moving average of the parameters (train.ema_decay), beside the states' names.
inline constexpr const char* kAverageName = "ema";

/// What a rank keeps beside the parameters, one value a parameter: the optimizer's states in the
/// order of its rule, then the moving average where the deck asks for it. The names are those of
/// plan, ledger and checkpoints.
[[nodiscard]] std::vector<const char*> state_names(const RunConfig& config);

}  // namespace th::config
