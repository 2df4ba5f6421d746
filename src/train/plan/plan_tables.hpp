#pragma once

#include <string>

#include "train/plan/planner.hpp"

namespace th::train {

/// The tables of --plan, with a column for each stage: memory by class and traffic, then memory by
/// gradient checkpointing, by precision and with offloading.
[[nodiscard]] std::string memory_tables(const Planner& planner);

}  // namespace th::train
