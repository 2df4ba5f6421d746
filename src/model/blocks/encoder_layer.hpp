#pragma once

#include "model/blocks/block.hpp"

namespace th::model {

/// torch.nn.TransformerEncoderLayer: self attention and feed-forward, each in a residual. The last
/// layer ends with the encoder's norm.
class EncoderLayer final : public Block {
 public:
  /// Layer `number` of the encoder.
  EncoderLayer(const config::ModelSection& model, const EncoderLayerUnit& unit, std::int64_t number,
               const RuleInputs& inputs);

  [[nodiscard]] at::Tensor forward(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD,
                                   Tape& tape) const override;
  [[nodiscard]] at::Tensor backward(Pass& pass, const ParameterSpan& p, const at::Tensor& g_MD,
                                    const Tape& tape) const override;
  /// Throws InternalError: an encoder does not go position by position.
  [[nodiscard]] at::Tensor step(const DecodingRows& rows, const ParameterSpan& p,
                                const at::Tensor& x_RD, LayerCache& cache) const override;
  [[nodiscard]] double products(const PassSizes& sizes) const override;

 private:
  [[nodiscard]] AttentionSite site(const Pass& pass) const;

  std::uint64_t dropout_block_;
  double width_, hidden_;   ///< D, F
  double hidden_matrices_;  ///< of a feed-forward layer
  AttentionRules rules_;
  Attention attention_;
  FeedForward feed_forward_;
  Residual attention_residual_, feed_forward_residual_;
  Norm final_norm_;
};

}  // namespace th::model
