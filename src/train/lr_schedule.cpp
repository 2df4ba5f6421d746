#include "th/train/lr_schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace th::train {

namespace {

using config::ScheduleKind;
using config::ScheduleSection;

/// DeepSpeed's WarmupLR at its iteration `i`, counted from 0: from min_lr to lr over warmup_steps
/// iterations, in a line or with log(i + 1) / log(warmup_steps).
double warmup_constant(const ScheduleSection& s, double lr, double i) {
  const double warmup = static_cast<double>(std::max<std::int64_t>(s.warmup_steps, 2));
  if (i >= warmup) return lr;
  const double part = s.warmup_shape == config::WarmupShape::kLog
                          ? std::log(i + 1.0) / std::log(warmup)
                          : i / warmup;
  return s.min_lr + (lr - s.min_lr) * part;
}

/// The part of the highest rate that is left at step `s` of a warm-up, a stable phase and a linear
/// decay (Hu et al. 2024, MiniCPM).
double warmup_stable_decay(const ScheduleSection& schedule, double s, double warmup, double total) {
  if (s < warmup) return s / warmup;
  const double decay = schedule.decay_steps > 0 ? static_cast<double>(schedule.decay_steps)
                                                : std::max(1.0, std::floor(total / 10.0));
  const double left = std::clamp((total - s) / std::min(decay, total - warmup), 0.0, 1.0);
  return schedule.min_ratio + (1.0 - schedule.min_ratio) * left;
}

}  // namespace

double learning_rate(const config::RunConfig& config, std::int64_t total_steps, std::int64_t step) {
  const ScheduleSection& schedule = config.schedule;
  const double s = static_cast<double>(step);
  const double warmup = static_cast<double>(std::max<std::int64_t>(schedule.warmup_steps, 1));
  const double total = std::max(static_cast<double>(total_steps), warmup + 1.0);
  const double lr = config.optimizer.lr;
  const double least = schedule.min_ratio;
  const double rest = std::clamp((total - s) / (total - warmup), 0.0, 1.0);
  switch (schedule.name) {
    case ScheduleKind::kNoam: {
      const double width = std::sqrt(static_cast<double>(config.model.d_model));
      const double rate = lr / width * std::min(1.0 / std::sqrt(s), s * std::pow(warmup, -1.5));
      return s < warmup ? rate : std::max(rate, least * (lr / width / std::sqrt(warmup)));
    }
    case ScheduleKind::kInverseSqrt: {
      const double part = std::min(s / warmup, std::sqrt(warmup / s));
      return lr * (s < warmup ? part : std::max(part, least));
    }
    case ScheduleKind::kWarmupLinear:
      return lr * (s < warmup ? s / warmup : least + (1.0 - least) * rest);
    case ScheduleKind::kCosine:
      return lr * (s < warmup
                       ? s / warmup
                       : least + (1.0 - least) * (0.5 * (1.0 - std::cos(std::numbers::pi * rest))));
    case ScheduleKind::kWarmupConstant:
      return warmup_constant(schedule, lr, s - 1.0);
    case ScheduleKind::kWsd:
      return lr * warmup_stable_decay(schedule, s, warmup, total);
    case ScheduleKind::kConstant:
      break;
  }
  return lr;
}

}  // namespace th::train
