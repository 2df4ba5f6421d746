#pragma once

#include <cstdint>

#include "th/runtime/optimizers/optimizer_rules.hpp"

// The loops over flat fp32 buffers on the host, compiled for each instruction set.
namespace th::zero {

/// Updates `count` elements with the rule of `factors`, element by element, so the bits do not
/// depend on how a buffer is split. `states` are the rule's, in its order.
void update_elements(const runtime::UpdateFactors& factors, float* weights, const float* gradients,
                     float* const* states, std::int64_t count);

/// averages += rate * (weights - averages); with rate 1 the averages are the weights.
void average_elements(const float* weights, float* averages, float rate, std::int64_t count);

/// fp64 sums of squares of `blocks` blocks of 256 elements each, every block in one fixed order.
void block_square_sums(const float* x, std::int64_t blocks, double* out);

/// out = a + b; out may be a or b.
using SumFn = void(const float* a, const float* b, float* out, std::int64_t count);
/// The loop for this processor. Callers with many short pieces ask for it once.
[[nodiscard]] SumFn* sum_kernel();

}  // namespace th::zero
