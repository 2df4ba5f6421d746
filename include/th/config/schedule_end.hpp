#pragma once

#include "th/config/run_config.hpp"

namespace th::config {

/// Whether the schedule reaches an end, after schedule.total_steps or all of train.epochs.
[[nodiscard]] constexpr bool schedule_ends(ScheduleKind name) {
  return name == ScheduleKind::kCosine || name == ScheduleKind::kWarmupLinear ||
         name == ScheduleKind::kWsd;
}

/// Whether the schedule ends with train.epochs, so that its length depends on the data.
[[nodiscard]] constexpr bool ends_with_the_epochs(const RunConfig& config) {
  return schedule_ends(config.schedule.name) && config.schedule.total_steps == 0;
}

}  // namespace th::config
