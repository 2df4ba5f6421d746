#include "th/train/lr_schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace th::train {

double learning_rate(const config::RunConfig& config, std::int64_t total_steps, std::int64_t step) {
  using config::ScheduleKind;
  const double s = static_cast<double>(step);
  const double warmup =
      static_cast<double>(std::max<std::int64_t>(config.schedule.warmup_steps, 1));
  const double total = std::max(static_cast<double>(total_steps), warmup + 1.0);
  const double lr = config.optimizer.lr;
  const double rest = std::clamp((total - s) / (total - warmup), 0.0, 1.0);
  switch (config.schedule.name) {
    case ScheduleKind::kNoam:
      return lr / std::sqrt(static_cast<double>(config.model.d_model)) *
             std::min(1.0 / std::sqrt(s), s * std::pow(warmup, -1.5));
    case ScheduleKind::kInverseSqrt:
      return lr * std::min(s / warmup, std::sqrt(warmup / s));
    case ScheduleKind::kWarmupLinear:
      return lr * (s < warmup ? s / warmup : rest);
    case ScheduleKind::kCosine:
      return lr * (s < warmup ? s / warmup : 0.5 * (1.0 - std::cos(std::numbers::pi * rest)));
    case ScheduleKind::kConstant:
      break;
  }
  return lr;
}

}  // namespace th::train
