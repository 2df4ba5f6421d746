#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "th/model/memory/tensors.hpp"
#include "th/model/parameters/parameters.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::zero {

/// Units whose tensors have shapes and addresses, and no memory.
class PlannedSource final : public model::ParameterSource {
 public:
  PlannedSource(const FlatLayout& layout, at::ScalarType type, model::Write write) {
    for (const FlatLayout::Unit& unit : layout.units()) {
      model::UnitTensors tensors;
      tensors.product_gradients = write;
      for (std::int64_t t = unit.first_tensor; t < unit.first_tensor + unit.tensor_count; ++t) {
        const auto& shape = layout.tensors()[static_cast<std::size_t>(t)].spec.shape;
        tensors.values.push_back(model::empty(shape, at::TensorOptions().dtype(type)));
        tensors.gradients.push_back(model::empty(shape, at::TensorOptions().dtype(at::kFloat)));
      }
      units_.push_back(std::move(tensors));
    }
  }
  const model::UnitTensors& open_forward(std::int64_t unit) override {
    return units_[static_cast<std::size_t>(unit)];
  }
  void close_forward(std::int64_t) override {}
  model::UnitTensors& open_backward(std::int64_t unit) override {
    return units_[static_cast<std::size_t>(unit)];
  }
  void close_backward(std::int64_t) override {}

 private:
  std::vector<model::UnitTensors> units_;
};

}  // namespace th::zero
