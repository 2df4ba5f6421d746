#pragma once

#include <functional>

#include "model/blocks/block.hpp"

namespace th::model {

/// The decoder's last norm, where there is one, the projection to the vocabulary and the loss of
/// its logits. The matrix [V, D] is a tensor of its own or an embedding's (Press, Wolf 2017).
class Output final : public Block {
 public:
  Output(const config::ModelSection& model, OutputUnit unit)
      : unit_(std::move(unit)), width_(static_cast<double>(model.d_model)), norm_(unit_.norm) {}

  /// Rows of logits that exist at a time in training and validation: enough for fast products, few
  /// beside a large micro-batch.
  static constexpr std::int64_t kLogitRows = 1024;

  /// Logits [M, V].
  [[nodiscard]] at::Tensor forward(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD,
                                   Tape& tape) const override;
  /// The sum of the batch's token losses is added to pass.target.loss.
  void add_loss(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD) const;
  /// Loss and gradients of `x`, the decoder's result, in one pass over its rows: with pass.target's
  /// scale. No more than kLogitRows rows of logits exist.
  [[nodiscard]] at::Tensor backward_of_loss(Pass& pass, const ParameterSpan& p,
                                            at::Tensor x_MD) const;
  /// Throws InternalError: the gradient of the logits is the loss' (backward_of_loss).
  [[nodiscard]] at::Tensor backward(Pass& pass, const ParameterSpan& p, const at::Tensor& g_MV,
                                    const Tape& tape) const override;
  /// Logits [R, V], or those of each row's candidates, row after row, fp32.
  [[nodiscard]] at::Tensor step(const DecodingRows& rows, const ParameterSpan& p,
                                const at::Tensor& x_RD, LayerCache& cache) const override;
  [[nodiscard]] double products(const PassSizes& sizes) const override;

 private:
  /// What is done with the scores of the rows from `first` on: their logits or, where gradients are
  /// asked for, their gradient.
  using LogitSlice = std::function<void(std::int64_t first, const at::Tensor& hidden_RD,
                                        const at::Tensor& scores_RV)>;

  [[nodiscard]] bool has_matrix() const noexcept { return unit_.weight.count > 0; }
  /// [V, D].
  [[nodiscard]] const at::Tensor& weight(const Pass& pass, const ParameterSpan& p) const;
  /// The rows that the projection takes.
  [[nodiscard]] at::Tensor normed(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD,
                                  NormTape& tape) const;
  [[nodiscard]] at::Tensor logits(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD,
                                  NormTape& tape) const;
  /// Adds the losses of rows of the output layer's input, slice by slice; with a gradient scale the
  /// logits become their gradient.
  void loss_slices(const Pass& pass, const ParameterSpan& p, const at::Tensor& hidden_MD,
                   const LogitSlice& each) const;

  OutputUnit unit_;
  double width_;  ///< D
  Norm norm_;
};

}  // namespace th::model
