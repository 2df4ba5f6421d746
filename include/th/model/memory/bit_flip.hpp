#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace th::model {

/// A testing aid (th/base/bit_flip.hpp): flips one of the upper bits of an element that is not near
/// 0, so that what is computed from it changes. `x` is contiguous, fp32, bf16 or fp16; where it
/// lies.
void flip_bit(const at::Tensor& x, std::uint64_t draw);

}  // namespace th::model
