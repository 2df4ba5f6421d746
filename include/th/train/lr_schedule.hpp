#pragma once

#include <cstdint>

#include "th/config/run_config.hpp"

namespace th::train {

/// The learning rate of optimizer step `step`, from 1. noam is Vaswani et al. 2017, 5.3: lr *
/// d_model^-0.5 * min(s^-0.5, s * warmup^-1.5). `total_steps` is where warmup_linear and cosine
/// reach 0.
[[nodiscard]] double learning_rate(const config::RunConfig& config, std::int64_t total_steps,
                                   std::int64_t step);

}  // namespace th::train
