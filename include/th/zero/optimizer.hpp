#pragma once

#include <cstdint>

#include "th/config/run_config.hpp"
#include "th/runtime/device/device.hpp"
#include "th/zero/flat_kernels.hpp"

namespace th::zero {

/// One step of the run's optimizer (th/runtime/optimizers). `gradient_factor` (the clip
/// coefficient) multiplies each gradient first; `step` counts from 1.
struct OptimizerStep {
  config::OptimizerSection settings;
  double lr = 0;
  double gradient_factor = 1;
  std::int64_t step = 1;
};

/// The numbers of a step as kernels take them.
[[nodiscard]] runtime::UpdateFactors update_factors(const OptimizerStep& step);
/// The update on host memory, elementwise: the same bits however a buffer is split. Gradients may
/// be of any type; a copy of the new weights rounded to a 16-bit type is made where the operands
/// ask for it.
void apply_update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& operands);

/// A deck's type as devices name it.
[[nodiscard]] runtime::ElementType element_type(config::Precision precision);

/// block_square_sums of flat_kernels.hpp for elements of any type.
void block_square_sums(const void* x, runtime::ElementType type, std::int64_t blocks, double* out);

/// runtime::Device::end_step on host memory: blocks are added unit by unit, rank by rank.
void end_step(const runtime::StepRecords& records);

/// `count` elements at `from` rounded to `type` (16 bits) at `to`.
void round_elements(const float* from, runtime::ElementType type, void* to, std::int64_t count);

}  // namespace th::zero
