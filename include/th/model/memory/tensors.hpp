#pragma once

#include <ATen/core/Tensor.h>

namespace th::model {

// The makers of tensors that th_app uses. LibTorch's own headers of them, and <ATen/ATen.h>, take
// several times as long to compile as those of the tensors, in each file.

/// Contiguous, of unset values.
[[nodiscard]] at::Tensor empty(at::IntArrayRef shape, const at::TensorOptions& options);
/// With the strides of `like`.
[[nodiscard]] at::Tensor empty_like(const at::Tensor& like);
[[nodiscard]] at::Tensor zeros(at::IntArrayRef shape, const at::TensorOptions& options);

}  // namespace th::model
