#include "model/blocks/decoder_layer.hpp"

#include "model/blocks/layer_sites.hpp"

namespace th::model {

DecoderLayer::DecoderLayer(const config::ModelSection& model, const DecoderLayerUnit& unit,
                           std::int64_t number, const RuleInputs& inputs)
    : dropout_block_(kDecoderBlock + static_cast<std::uint64_t>(number)),
      width_(static_cast<double>(model.d_model)),
      hidden_(static_cast<double>(model.d_ff)),
      hidden_matrices_(model.activation == config::Activation::kSwiglu ? 3 : 2),
      self_rules_(attention_rules(model, AttentionPlace::kDecoder, inputs)),
      cross_rules_(attention_rules(model, AttentionPlace::kCross, inputs)),
      self_attention_(unit.self_attention),
      cross_attention_(unit.cross_attention),
      feed_forward_(unit.feed_forward),
      self_residual_(unit.norm1),
      cross_residual_(unit.norm2),
      feed_forward_residual_(unit.norm3) {}

AttentionSite DecoderLayer::self_site(const Pass& pass) const {
  return pass.site(AttentionPlace::kDecoder, self_rules_,
                   pass.context.attention_site(dropout_block_, kAttentionWeights));
}

AttentionSite DecoderLayer::cross_site(const Pass& pass) const {
  return pass.site(AttentionPlace::kCross, cross_rules_,
                   pass.context.attention_site(dropout_block_, kCrossWeights));
}

at::Tensor DecoderLayer::forward(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD,
                                 Tape& tape) const {
  const PassContext& c = pass.context;
  const AttentionSite self = self_site(pass), cross = cross_site(pass);
  at::Tensor y =
      self_residual_.forward(c, p, x_MD, c.site(dropout_block_, kAttentionOut),
                             tape.attention_residual, [&](const at::Tensor& h) {
                               return self_attention_.forward(c, p, {h, {}, self}, tape.attention);
                             });
  y = cross_residual_.forward(
      c, p, y, c.site(dropout_block_, kCrossOut), tape.cross_residual, [&](const at::Tensor& h) {
        return cross_attention_.forward(c, p, {h, pass.memory, cross}, tape.cross_attention);
      });
  return feed_forward_residual_.forward(c, p, y, c.site(dropout_block_, kFeedForwardOut),
                                        tape.feed_forward_residual, [&](const at::Tensor& h) {
                                          return feed_forward_.forward(
                                              c, p, h, c.activation_site(dropout_block_, kHidden),
                                              tape.feed_forward);
                                        });
}

at::Tensor DecoderLayer::backward(Pass& pass, const ParameterSpan& p, const at::Tensor& g_MD,
                                  const Tape& tape) const {
  const PassContext& c = pass.context;
  const AttentionSite self = self_site(pass), cross = cross_site(pass);
  at::Tensor g = feed_forward_residual_.backward(
      c, p, g_MD, c.site(dropout_block_, kFeedForwardOut), tape.feed_forward_residual,
      [&](const at::Tensor& g_h, const at::Tensor& h) {
        return feed_forward_.backward(c, p, g_h, h, c.activation_site(dropout_block_, kHidden),
                                      tape.feed_forward);
      });
  g = cross_residual_.backward(c, p, g, c.site(dropout_block_, kCrossOut), tape.cross_residual,
                               [&](const at::Tensor& g_h, const at::Tensor& h) {
                                 return cross_attention_.backward(
                                     c, p, g_h, {h, pass.memory, cross}, tape.cross_attention,
                                     &pass.g_memory);
                               });
  return self_residual_.backward(
      c, p, g, c.site(dropout_block_, kAttentionOut), tape.attention_residual,
      [&](const at::Tensor& g_h, const at::Tensor& h) {
        return self_attention_.backward(c, p, g_h, {h, {}, self}, tape.attention, nullptr);
      });
}

double DecoderLayer::products(const PassSizes& s) const {
  return s.target_rows * (6 * width_ * width_ + hidden_matrices_ * width_ * hidden_) +
         s.memory_rows * 2 * width_ * width_ + 2 * (s.decoder_scores + s.cross_scores) * width_;
}

}  // namespace th::model
