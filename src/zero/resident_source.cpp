#include "th/zero/resident_source.hpp"

#include "th/base/error.hpp"

#include <ATen/ops/from_blob.h>

namespace th::zero {

ResidentSource::ResidentSource(const FlatLayout& layout, at::Tensor flat) : flat_(std::move(flat)) {
  ensure(flat_.numel() == layout.padded_total(), "ResidentSource: the buffer has the wrong size");
  char* base = static_cast<char*>(flat_.data_ptr());
  for (const FlatLayout::Unit& unit : layout.units()) {
    model::UnitTensors tensors;
    for (std::int64_t t = unit.first_tensor; t < unit.first_tensor + unit.tensor_count; ++t) {
      const FlatLayout::Tensor& tensor = layout.tensors()[static_cast<std::size_t>(t)];
      tensors.values.push_back(
          at::from_blob(base + (unit.offset + tensor.offset) * flat_.element_size(),
                        tensor.spec.shape, flat_.options()));
    }
    units_.push_back(std::move(tensors));
  }
}

model::UnitTensors& ResidentSource::open_backward(std::int64_t) {
  throw InternalError("ResidentSource has no gradients");
}
void ResidentSource::close_backward(std::int64_t) {
  throw InternalError("ResidentSource has no gradients");
}

}  // namespace th::zero
