#pragma once

#include "model/blocks/block.hpp"

namespace th::model {

/// torch.nn.TransformerDecoderLayer: self attention, attention over the encoder's result and
/// feed-forward, each in a residual.
class DecoderLayer final : public Block {
 public:
  /// Layer `number` of the decoder.
  DecoderLayer(const config::ModelSection& model, const DecoderLayerUnit& unit, std::int64_t number,
               const RuleInputs& inputs);

  [[nodiscard]] at::Tensor forward(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD,
                                   Tape& tape) const override;
  [[nodiscard]] at::Tensor backward(Pass& pass, const ParameterSpan& p, const at::Tensor& g_MD,
                                    const Tape& tape) const override;
  void prepare(const DecodingRows& rows, const ParameterSpan& p, LayerCache& cache) const override;
  [[nodiscard]] at::Tensor step(const DecodingRows& rows, const ParameterSpan& p,
                                const at::Tensor& x_RD, LayerCache& cache) const override;
  [[nodiscard]] double products(const PassSizes& sizes) const override;

 private:
  [[nodiscard]] AttentionSite self_site(const Pass& pass) const;
  [[nodiscard]] AttentionSite cross_site(const Pass& pass) const;
  [[nodiscard]] at::Tensor step_self(const DecodingRows& rows, const ParameterSpan& p,
                                     const at::Tensor& x_RD, LayerCache& cache) const;
  [[nodiscard]] at::Tensor step_cross(const DecodingRows& rows, const ParameterSpan& p,
                                      const at::Tensor& x_RD, LayerCache& cache) const;
  /// Under a local rule: makes the keys and values of the encoder states that this step's queries
  /// are the first to see, in the places of those that no query sees any more.
  void move_on(const DecodingRows& rows, const ParameterSpan& p, LayerCache& cache) const;

  std::uint64_t dropout_block_;
  double width_, hidden_;   ///< D, F
  double hidden_matrices_;  ///< of a feed-forward layer
  AttentionRules self_rules_, cross_rules_;
  Attention self_attention_, cross_attention_;
  FeedForward feed_forward_;
  Residual self_residual_, cross_residual_, feed_forward_residual_;
};

}  // namespace th::model
