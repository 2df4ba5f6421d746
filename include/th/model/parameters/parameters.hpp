#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace th::model {

/// Whether a result replaces the values at its destination or is added to them.
enum class Write { kSet, kAdd };

/// The tensors of one parameter unit, in the order of its UnitSpec: views of flat storage.
struct UnitTensors {
  std::vector<at::Tensor> values;  ///< of the working type: fp32, bf16 or fp16
  std::vector<at::Tensor>
      gradients;  ///< fp32; empty in the forward pass; in the backward pass the model adds to them
  /// How the gradients are written that one product makes (TensorSpec::one_product): with kSet they
  /// need not be zeroed when the unit is opened for backward, with kAdd they hold a sum, or zeros,
  /// as all others do.
  Write product_gradients = Write::kAdd;
};

/// The source of the model's parameters, and the destination of its gradients. The engine
/// implements it: it gathers, reduces and releases. The model opens and closes units in an order
/// that depends on the model alone, so that calls may be collective.
class ParameterSource {
 public:
  virtual ~ParameterSource() = default;
  /// Makes the unit's values readable until close_forward. Opening may nest (tied embeddings).
  virtual const UnitTensors& open_forward(std::int64_t unit) = 0;
  virtual void close_forward(std::int64_t unit) = 0;
  /// Makes values and gradients to add to available until close_backward. A unit used in several
  /// places is opened once for all of them.
  virtual UnitTensors& open_backward(std::int64_t unit) = 0;
  /// Says that the unit's gradients are complete.
  virtual void close_backward(std::int64_t unit) = 0;
  /// Asked in the midst of long work, by several threads: whether it is to be given up. Then the
  /// rest may be left out, and the next unit is not opened. Null: it never is.
  [[nodiscard]] virtual const std::function<bool()>* stop() const { return nullptr; }
};

}  // namespace th::model
