#include "th/model/memory/tensors.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

namespace th::model {

at::Tensor empty(at::IntArrayRef shape, const at::TensorOptions& options) {
  return at::empty(shape, options);
}

at::Tensor empty_like(const at::Tensor& like) { return at::empty_like(like); }

at::Tensor zeros(at::IntArrayRef shape, const at::TensorOptions& options) {
  return at::zeros(shape, options);
}

}  // namespace th::model
