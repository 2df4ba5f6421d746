#pragma once

#include <ATen/ATen.h>

#include <string>
#include <utility>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/model/parameters/parameters.hpp"
#include "th/zero/flat_layout.hpp"

namespace th_test {

/// The library of matrix products that the golden tests use: the program's argument.
inline th::config::Gemm g_gemm = th::config::Gemm::kOnednn;

/// Parameters and gradients as plain buffers of one rank: what the model adds is read as it is.
class BufferSource final : public th::model::ParameterSource {
 public:
  explicit BufferSource(const th::zero::FlatLayout& layout) : layout_(layout) {
    for (const auto& unit : layout.units()) {
      th::model::UnitTensors t;
      for (std::int64_t i = unit.first_tensor; i < unit.first_tensor + unit.tensor_count; ++i) {
        t.values.push_back(at::zeros(layout.tensors()[static_cast<std::size_t>(i)].spec.shape));
        t.gradients.push_back(at::zeros_like(t.values.back()));
      }
      units_.push_back(std::move(t));
    }
  }
  const th::model::UnitTensors& open_forward(std::int64_t unit) override {
    return units_[static_cast<std::size_t>(unit)];
  }
  void close_forward(std::int64_t) override {}
  th::model::UnitTensors& open_backward(std::int64_t unit) override {
    return units_[static_cast<std::size_t>(unit)];
  }
  void close_backward(std::int64_t) override {}
  std::pair<at::Tensor, at::Tensor> tensor(const std::string& name) {
    for (std::size_t u = 0; u < units_.size(); ++u) {
      const auto& unit = layout_.units()[u];
      for (std::int64_t i = 0; i < unit.tensor_count; ++i) {
        if (layout_.tensors()[static_cast<std::size_t>(unit.first_tensor + i)].spec.name == name) {
          return {units_[u].values[static_cast<std::size_t>(i)],
                  units_[u].gradients[static_cast<std::size_t>(i)]};
        }
      }
    }
    return {};
  }

 private:
  const th::zero::FlatLayout& layout_;
  std::vector<th::model::UnitTensors> units_;
};

}  // namespace th_test
