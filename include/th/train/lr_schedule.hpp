#pragma once

#include <cstdint>

#include "th/config/run_config.hpp"

namespace th::train {

/// The learning rate of optimizer step `step`, from 1. noam is Vaswani et al. 2017, 5.3: lr *
/// d_model^-0.5 * min(s^-0.5, s * warmup^-1.5). `total_steps` is where warmup_linear, cosine and
/// wsd reach schedule.min_ratio of the highest rate, to which their fall is scaled; noam and
/// inverse_sqrt stay there once they have come so far. warmup_constant is DeepSpeed's WarmupLR,
/// whose iterations count from 0: step s is iteration s - 1, so the first step has schedule.min_lr.
[[nodiscard]] double learning_rate(const config::RunConfig& config, std::int64_t total_steps,
                                   std::int64_t step);

}  // namespace th::train
