#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace th::model {

/// A named parameter tensor (row-major, C order).
struct TensorSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  /// A linear layer's weight that is used once a pass: its gradient is one matrix product (of
  /// several parts of its rows, each once).
  bool one_product = false;
  double initial_divisor = 1;  ///< of its initial values (initialize_elements)
  /// Elements.
  [[nodiscard]] std::int64_t count() const {
    std::int64_t n = 1;
    for (const std::int64_t extent : shape) n *= extent;
    return n;
  }
};

/// Tensors that are gathered, reduced and released together.
struct UnitSpec {
  std::string name;
  std::vector<TensorSpec> tensors;
};

/// A second name under which a tied tensor appears in checkpoints.
struct TensorAlias {
  std::string alias;
  std::string tensor;
};

}  // namespace th::model
