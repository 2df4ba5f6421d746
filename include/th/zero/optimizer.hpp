#pragma once

#include <cstdint>
#include <span>

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

/// The numbers of a step for optimizer rules.
[[nodiscard]] runtime::StepNumbers numbers_of(const OptimizerStep& step);
/// The same for kernels.
[[nodiscard]] runtime::UpdateFactors update_factors(const OptimizerStep& step);
/// The update on host memory, elementwise: the same bits however a buffer is split. Gradients may
/// be of any type; a copy of the new weights rounded to a 16-bit type is made where the operands
/// ask for it.
void apply_update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& operands);

/// block_square_sums of flat_kernels.hpp for elements of any type.
void block_square_sums(const void* x, ElementType type, std::int64_t blocks, double* out);

/// runtime::Device::end_step on host memory: blocks are added unit by unit, rank by rank.
void end_step(const runtime::StepRecords& records);

/// `x` rounded to bf16 by a draw of 16 bits: down if the dropped bits are at most the draw's
/// complement, otherwise up, so that the mean over draws is x (stochastic rounding; Gupta et al.
/// 2015). Values that bf16 holds exactly stay.
[[nodiscard]] std::uint16_t round_by_draw(float x, std::uint32_t draw);
/// The draw for element number `element` with a key: a hash, the same for every split.
[[nodiscard]] std::uint32_t rounding_draw(std::uint64_t key, std::int64_t element);

/// Rounds elements to bf16 by the draws of a key; `first` is the number of the first element.
void round_by_draws(std::span<const float> from, std::uint64_t key, std::int64_t first,
                    std::uint16_t* to);

/// Widens `count` elements of `type` (16 bits) at `from` to fp32 at `to`.
void widen_elements(const void* from, ElementType type, float* to, std::int64_t count);
/// Rounds `count` elements at `from` to `type` (16 bits) at `to`.
void round_elements(const float* from, ElementType type, void* to, std::int64_t count);

}  // namespace th::zero
