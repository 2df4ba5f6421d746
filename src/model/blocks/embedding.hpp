#pragma once

#include "model/blocks/block.hpp"

namespace th::model {

/// The rows of a sentence's ids, scaled by sqrt(D), plus their positions' (Vaswani et al. 2017, 3.4
/// and 3.5). `x` is not looked at, and there is no gradient of it.
class Embedding final : public Block {
 public:
  enum class Side { kSource, kTarget };
  /// Of sentences up to `longest`; `positions` [longest, D], fp32, on the device, or undefined
  /// where none are added.
  Embedding(EmbeddingUnit unit, Side side, at::Tensor positions, std::int64_t longest);

  [[nodiscard]] const UnitSpec& unit() const override { return unit_.spec; }
  [[nodiscard]] at::Tensor forward(const Pass& pass, const ParameterSpan& p, const at::Tensor& x,
                                   Tape& tape) const override;
  [[nodiscard]] at::Tensor backward(Pass& pass, const ParameterSpan& p, const at::Tensor& g_MD,
                                    const Tape& tape) const override;
  [[nodiscard]] at::Tensor step(const DecodingRows& rows, const ParameterSpan& p,
                                const at::Tensor& x, LayerCache& cache) const override;
  [[nodiscard]] double products(const PassSizes&) const override { return 0; }

 private:
  /// The table of positions; null where none are added.
  [[nodiscard]] const float* added() const;
  [[nodiscard]] Dropout site(const Pass& pass) const;

  EmbeddingUnit unit_;
  Side side_;
  at::Tensor positions_;
  std::int64_t longest_;
};

/// [length, width]: sine at even columns, cosine at odd ones (Vaswani et al. 2017, 3.5).
[[nodiscard]] at::Tensor sinusoidal_positions(std::int64_t length, std::int64_t width);

}  // namespace th::model
