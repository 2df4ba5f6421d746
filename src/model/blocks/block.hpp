#pragma once

#include "model/blocks/pass.hpp"

namespace th::model {

/// One unit of a model: it alone knows which of the unit's tensors is what, computes forward and
/// backward, decodes one position and says its cost. It holds no parameters and opens no units: a
/// Stack does. Names and shapes are those of model_units().
class Block {
 public:
  virtual ~Block() = default;
  Block() = default;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  /// The rows [M, D] of the next block, and what the backward pass needs into `tape`.
  [[nodiscard]] virtual at::Tensor forward(const Pass& pass, const ParameterSpan& p,
                                           const at::Tensor& x_MD, Tape& tape) const = 0;
  /// The gradient of x; those of its parameters are added to `p`.
  [[nodiscard]] virtual at::Tensor backward(Pass& pass, const ParameterSpan& p,
                                            const at::Tensor& g_MD, const Tape& tape) const = 0;
  /// Before the first step of decoding, with the encoder's result in the pass: fills what the cache
  /// has of it.
  virtual void prepare(const DecodingRows& /*rows*/, const ParameterSpan& /*p*/,
                       LayerCache& /*cache*/) const {}
  /// The rows [R, D] of the next block for one position of each live hypothesis.
  [[nodiscard]] virtual at::Tensor step(const DecodingRows& rows, const ParameterSpan& p,
                                        const at::Tensor& x_RD, LayerCache& cache) const = 0;
  /// Multiply-adds of the matrix products of a forward pass; a backward pass has twice as many.
  [[nodiscard]] virtual double products(const PassSizes& sizes) const = 0;
};

}  // namespace th::model
