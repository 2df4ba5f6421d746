#pragma once

#include <cstdint>

#include "th/config/run_config.hpp"

namespace th::train {

/// The learning rate of optimizer step `step`, from 1. noam is Vaswani et al. 2017, 5.3: lr *
/// d_model^-0.5 * min(s^-0.5, s * warmup^-1.5). At `total_steps` warmup_linear, cosine and wsd
/// reach schedule.min_ratio of the highest rate. noam and inverse_sqrt stop falling when they reach
/// that ratio. warmup_constant is DeepSpeed's WarmupLR, whose iterations count from 0: step s is
/// iteration s - 1, so the first step has schedule.min_lr.
[[nodiscard]] double learning_rate(const config::RunConfig& config, std::int64_t total_steps,
                                   std::int64_t step);

}  // namespace th::train
