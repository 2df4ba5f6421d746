#include "model/blocks/encoder_layer.hpp"

#include "model/blocks/layer_sites.hpp"
#include "th/base/error.hpp"

namespace th::model {

EncoderLayer::EncoderLayer(const config::ModelSection& model, const EncoderLayerUnit& unit,
                           std::int64_t number, const RuleInputs& inputs)
    : dropout_block_(static_cast<std::uint64_t>(number)),
      width_(static_cast<double>(model.d_model)),
      hidden_(static_cast<double>(model.d_ff)),
      hidden_matrices_(model.activation == config::Activation::kSwiglu ? 3 : 2),
      rules_(attention_rules(model, AttentionPlace::kEncoder, inputs)),
      attention_(unit.attention),
      feed_forward_(unit.feed_forward),
      attention_residual_(unit.norm1),
      feed_forward_residual_(unit.norm2),
      final_norm_(unit.final_norm) {}

AttentionSite EncoderLayer::site(const Pass& pass) const {
  return pass.site(AttentionPlace::kEncoder, rules_,
                   pass.context.attention_site(dropout_block_, kAttentionWeights));
}

at::Tensor EncoderLayer::forward(const Pass& pass, const ParameterSpan& p, const at::Tensor& x_MD,
                                 Tape& tape) const {
  const PassContext& c = pass.context;
  const AttentionSite site = this->site(pass);
  at::Tensor y =
      attention_residual_.forward(c, p, x_MD, c.site(dropout_block_, kAttentionOut),
                                  tape.attention_residual, [&](const at::Tensor& h) {
                                    return attention_.forward(c, p, {h, {}, site}, tape.attention);
                                  });
  y = feed_forward_residual_.forward(c, p, y, c.site(dropout_block_, kFeedForwardOut),
                                     tape.feed_forward_residual, [&](const at::Tensor& h) {
                                       return feed_forward_.forward(
                                           c, p, h, c.activation_site(dropout_block_, kHidden),
                                           tape.feed_forward);
                                     });
  if (final_norm_.exists()) y = final_norm_.forward(c, p, y, tape.norm);
  return y;
}

at::Tensor EncoderLayer::backward(Pass& pass, const ParameterSpan& p, const at::Tensor& g_MD,
                                  const Tape& tape) const {
  const PassContext& c = pass.context;
  const AttentionSite site = this->site(pass);
  at::Tensor g = g_MD;
  if (final_norm_.exists()) g = final_norm_.backward(c, p, g, tape.norm);
  g = feed_forward_residual_.backward(
      c, p, g, c.site(dropout_block_, kFeedForwardOut), tape.feed_forward_residual,
      [&](const at::Tensor& g_h, const at::Tensor& h) {
        return feed_forward_.backward(c, p, g_h, h, c.activation_site(dropout_block_, kHidden),
                                      tape.feed_forward);
      });
  return attention_residual_.backward(
      c, p, g, c.site(dropout_block_, kAttentionOut), tape.attention_residual,
      [&](const at::Tensor& g_h, const at::Tensor& h) {
        return attention_.backward(c, p, g_h, {h, {}, site}, tape.attention, nullptr);
      });
}

at::Tensor EncoderLayer::step(const DecodingRows&, const ParameterSpan&, const at::Tensor&,
                              LayerCache&) const {
  throw InternalError("an encoder layer computes whole sentences");
}

double EncoderLayer::products(const PassSizes& s) const {
  return s.source_rows * (4 * width_ * width_ + hidden_matrices_ * width_ * hidden_) +
         2 * s.encoder_scores * width_;
}

}  // namespace th::model
