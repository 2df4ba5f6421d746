#pragma once

#include "model/sublayers/sublayers.hpp"
#include "tensors.hpp"
#include "th/model/ops/host_ops.hpp"

// Parameters of one block with gradients that begin at a value, to see that they are added to.
namespace th::model::test {

struct BlockParameters {
  std::vector<at::Tensor> values, gradients, leaves;  ///< leaves: the fp64 oracle's copies
  static constexpr float kBefore = 0.25F;

  explicit BlockParameters(const std::vector<std::vector<std::int64_t>>& shapes,
                           std::uint64_t seed) {
    for (const auto& shape : shapes) {
      values.push_back(normal(shape, ++seed) * 0.3);
      gradients.push_back(at::full(shape, kBefore));
      leaves.push_back(leaf(values.back()));
    }
  }
  [[nodiscard]] ParameterSpan span() { return {values, gradients}; }
  /// Largest error of any gradient, in units of the largest element of that gradient.
  [[nodiscard]] double gradient_error() const {
    double most = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      most = std::max(
          most, relative_error(gradients[i], leaves[i].grad() + static_cast<double>(kBefore)));
    }
    return most;
  }
};

/// The factors, 0 or 1/(1-rate), of a dropout site, in fp64.
inline at::Tensor factors(at::IntArrayRef shape, Dropout dropout) {
  const at::Tensor ones = at::ones(shape);
  at::Tensor out = at::empty(shape);
  compute(op::ApplyDropout<float>{
      .x = data(ones), .out = data(out), .count = out.numel(), .dropout = dropout});
  return out.to(at::kDouble);
}

}  // namespace th::model::test
