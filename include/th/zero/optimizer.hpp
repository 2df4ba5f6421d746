#pragma once

#include <cstdint>

#include "th/config/run_config.hpp"

namespace th::zero {

/// One step of the optimizer over `count` elements of a flat buffer, elementwise: the same bits however the buffer is split.
/// Adam (Kingma, Ba 2015, algorithm 1, with bias correction) and AdamW (Loshchilov, Hutter 2019); SGD uses neither moment.
/// `gradient_factor` (the clip coefficient) multiplies each gradient first; `step` counts from 1.
struct OptimizerStep {
  config::OptimizerSection settings;
  double lr = 0;
  double gradient_factor = 1;
  std::int64_t step = 1;
};
void apply_optimizer(const OptimizerStep& step, float* parameters, const float* gradients, float* exp_avg, float* exp_avg_sq, std::int64_t count);

/// The same with gradients of type `gradient_type`, and a copy of the new parameters rounded to `working_type` in `working` (null: no copy).
/// Moments may be null for SGD.
struct OptimizerSlice {
  float* masters = nullptr;
  const void* gradients = nullptr;
  float* exp_avg = nullptr;
  float* exp_avg_sq = nullptr;
  void* working = nullptr;
  std::int64_t count = 0;
  /// Elements [begin, begin + n), with gradients from elsewhere.
  [[nodiscard]] OptimizerSlice part(std::int64_t begin, std::int64_t n, const void* from, config::Precision working_type) const;
};
void apply_optimizer(const OptimizerStep& step, const OptimizerSlice& slice, config::Precision gradient_type, config::Precision working_type);

/// fp64 sums of squares of `blocks` blocks of 256 elements each, every block in one fixed order.
void block_square_sums(const float* x, std::int64_t blocks, double* out);
void block_square_sums(const void* x, config::Precision type, std::int64_t blocks, double* out);

/// `count` elements at `from` rounded to `type` (16 bits) at `to`.
void round_elements(const float* from, config::Precision type, void* to, std::int64_t count);

}  // namespace th::zero
