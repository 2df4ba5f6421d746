#pragma once

#include "model/blocks/block.hpp"

namespace th::model {

/// The rows of a sentence's ids, scaled by sqrt(D), plus their positions' (Vaswani et al. 2017, 3.4
/// and 3.5), which are sinusoids or parameters; then a norm, where the model has one, and dropout.
/// `x` is not looked at, and there is no gradient of it.
class Embedding final : public Block {
 public:
  enum class Side { kSource, kTarget };
  /// Of sentences up to `longest`; `positions` [longest, D], fp32, on the device, or undefined
  /// where none are added or they are learned.
  Embedding(const config::ModelSection& model, EmbeddingUnit unit, Side side, at::Tensor positions,
            std::int64_t longest);

  [[nodiscard]] at::Tensor forward(const Pass& pass, const ParameterSpan& p, const at::Tensor& x,
                                   Tape& tape) const override;
  [[nodiscard]] at::Tensor backward(Pass& pass, const ParameterSpan& p, const at::Tensor& g_MD,
                                    const Tape& tape) const override;
  [[nodiscard]] at::Tensor step(const DecodingRows& rows, const ParameterSpan& p,
                                const at::Tensor& x, LayerCache& cache) const override;
  [[nodiscard]] double products(const PassSizes&) const override { return 0; }

 private:
  /// Rows of ids, each with its place in its sentence.
  struct Rows {
    const std::int64_t* ids;
    const std::int32_t* places;
    std::int64_t count, longest;  ///< rows, and places of the longest sentence
  };

  [[nodiscard]] bool learned() const noexcept { return of_side_.positions.count > 0; }
  /// [places, D], fp32; undefined where none are added.
  [[nodiscard]] at::Tensor position_table(const PassContext& context, const ParameterSpan& p) const;
  [[nodiscard]] Rows rows_of(const Pass& pass) const;
  /// Before the norm.
  [[nodiscard]] at::Tensor embed(const PassContext& context, const ParameterSpan& p,
                                 const Rows& rows, Dropout dropout) const;
  [[nodiscard]] Dropout site(const Pass& pass) const;

  EmbeddingUnit unit_;
  Side side_;
  EmbeddingUnit::Side of_side_;
  Norm norm_;
  std::int64_t zero_id_;  ///< the id whose rows are positions alone; -1: none
  at::Tensor positions_;
  std::int64_t longest_;
};

/// [length, D]: sine and cosine of position * 10000^(-2i/D) for pair i (Vaswani et al. 2017, 3.5),
/// or of position * 10000^(-i/(D/2-1)) (Marian, tensor2tensor); sines in even and cosines in odd
/// columns, or sines in the first and cosines in the second half.
[[nodiscard]] at::Tensor sinusoidal_positions(const config::ModelSection& model,
                                              std::int64_t length);

}  // namespace th::model
