#pragma once

#include <ATen/ATen.h>

#include "th/model/blocks/layers.hpp"

// What blocks share.
namespace th::model {

/// Of gradients of parameters and of statistics, which are fp32 always.
inline float* fp32(const at::Tensor& t) { return t.data_ptr<float>(); }

/// Adds weight and bias gradients and returns the input's.
[[nodiscard]] at::Tensor linear_backward(const PassContext& context, const at::Tensor& g,
                                         const at::Tensor& x, const at::Tensor& weight,
                                         at::Tensor g_weight, const at::Tensor& g_bias,
                                         Write write);

}  // namespace th::model
