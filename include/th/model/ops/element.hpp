#pragma once

#include <ATen/core/Tensor.h>

#include "th/base/error.hpp"
#include "th/base/half_float.hpp"
#include "th/config/run_config.hpp"

// The element types of tensors, between LibTorch's dynamic types and the kernels' static ones.
namespace th::model {

/// The working type of parameters and activations.
[[nodiscard]] inline at::ScalarType scalar_type(ElementType precision) {
  if (precision == ElementType::kBf16) return at::kBFloat16;
  return precision == ElementType::kFp16 ? at::kHalf : at::kFloat;
}

/// Calls `body` with a value of the tensor's element type: float, Bf16 or Fp16.
template <typename Body>
void with_element(at::ScalarType type, Body&& body) {
  if (type == at::kFloat) return body(float{});
  if (type == at::kBFloat16) return body(Bf16{});
  ensure(type == at::kHalf, "a tensor of parameters or activations is fp32, bf16 or fp16");
  body(Fp16{});
}
template <typename Body>
void with_element(const at::Tensor& tensor, Body&& body) {
  with_element(tensor.scalar_type(), static_cast<Body&&>(body));
}

/// The tensor's memory as elements of T, the type that with_element gave.
template <typename T>
[[nodiscard]] T* elements(const at::Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

}  // namespace th::model
