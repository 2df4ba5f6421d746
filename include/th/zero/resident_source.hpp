#pragma once

#include <vector>

#include "th/model/parameters/parameters.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::zero {

/// All parameters of a model in one buffer, for decoding and for programs without ranks. Forward
/// pass only.
class ResidentSource final : public model::ParameterSource {
 public:
  /// `flat` holds the padded_total() elements of `layout` in the working type, 64-byte aligned.
  ResidentSource(const FlatLayout& layout, at::Tensor flat);
  const model::UnitTensors& open_forward(std::int64_t unit) override {
    return units_[static_cast<std::size_t>(unit)];
  }
  void close_forward(std::int64_t) override {}
  model::UnitTensors& open_backward(std::int64_t unit) override;
  void close_backward(std::int64_t unit) override;

 private:
  at::Tensor flat_;
  std::vector<model::UnitTensors> units_;
};

}  // namespace th::zero
