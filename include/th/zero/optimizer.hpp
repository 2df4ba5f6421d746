#pragma once

#include <cstdint>

#include "th/config/run_config.hpp"
#include "th/runtime/device/device.hpp"

namespace th::zero {

/// One step of the optimizer over `count` elements of a flat buffer, elementwise: the same bits
/// however the buffer is split. Adam (Kingma, Ba 2015, algorithm 1, with bias correction) and AdamW
/// (Loshchilov, Hutter 2019); SGD uses neither moment. `gradient_factor` (the clip coefficient)
/// multiplies each gradient first; `step` counts from 1.
struct OptimizerStep {
  config::OptimizerSection settings;
  double lr = 0;
  double gradient_factor = 1;
  std::int64_t step = 1;
};
void apply_optimizer(const OptimizerStep& step, float* parameters, const float* gradients,
                     float* exp_avg, float* exp_avg_sq, std::int64_t count);

/// The numbers of a step as kernels take them.
[[nodiscard]] runtime::UpdateFactors update_factors(const OptimizerStep& step);
/// The same with gradients of any type, and a copy of the new weights rounded to a 16-bit type, on
/// host memory.
void apply_update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& operands);

/// A deck's type as devices name it.
[[nodiscard]] runtime::ElementType element_type(config::Precision precision);

/// fp64 sums of squares of `blocks` blocks of 256 elements each, every block in one fixed order.
void block_square_sums(const float* x, std::int64_t blocks, double* out);
void block_square_sums(const void* x, runtime::ElementType type, std::int64_t blocks, double* out);

/// runtime::Device::end_step on host memory: blocks are added unit by unit, rank by rank.
void end_step(const runtime::StepRecords& records);

/// `count` elements at `from` rounded to `type` (16 bits) at `to`.
void round_elements(const float* from, runtime::ElementType type, void* to, std::int64_t count);

}  // namespace th::zero
