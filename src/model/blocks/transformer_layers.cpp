#include "model/blocks/pass.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

// The layers of encoder and decoder and the backward pass. Parameter order within a unit:
// parameter_units().
namespace th::model {

namespace {

enum Site : std::uint64_t {
  kAttentionWeights,
  kAttentionOut,
  kCrossWeights,
  kCrossOut,
  kHidden,
  kFeedForwardOut
};

ParameterSpan span_of(const UnitTensors& unit) { return {unit.values, {}}; }
ParameterSpan span_of(UnitTensors& unit, bool) {
  return {unit.values, unit.gradients, unit.product_gradients};
}

}  // namespace

at::Tensor Transformer::encoder_layer(const Pass& pass, std::int64_t layer, const UnitTensors& unit,
                                      const at::Tensor& x, EncoderTape& tape) const {
  const PassContext& c = pass.context;
  const ParameterSpan p = span_of(unit);
  const auto block = static_cast<std::uint64_t>(layer);
  const AttentionSite site = pass.encoder_site(c.site(block, kAttentionWeights));
  at::Tensor y = residual_forward(c, p.part(kEncoderNorm1, kNorm), x, c.site(block, kAttentionOut),
                                  tape.residual1, [&](const at::Tensor& h) {
                                    return attention_forward(c, p.part(0, kAttention), h, {}, site,
                                                             tape.attention);
                                  });
  y = residual_forward(c, p.part(kEncoderNorm2, kNorm), y, c.site(block, kFeedForwardOut),
                       tape.residual2, [&](const at::Tensor& h) {
                         return feed_forward(c, p.part(kEncoderFeedForward, kFeedForward), h,
                                             c.site(block, kHidden), tape.feed_forward);
                       });
  if (layer + 1 == model_.num_encoder_layers)
    y = layer_norm_forward(c, p.part(kEncoderFinalNorm, kNorm), y, tape.final_norm);
  return y;
}

at::Tensor Transformer::encoder_layer_backward(const Pass& pass, std::int64_t layer,
                                               UnitTensors& unit, const at::Tensor& g,
                                               const EncoderTape& tape) const {
  const PassContext& c = pass.context;
  const ParameterSpan p = span_of(unit, true);
  const auto block = static_cast<std::uint64_t>(layer);
  const AttentionSite site = pass.encoder_site(c.site(block, kAttentionWeights));
  at::Tensor g_x = g;
  if (layer + 1 == model_.num_encoder_layers)
    g_x = layer_norm_backward(c, p.part(kEncoderFinalNorm, kNorm), g_x, tape.final_norm);
  g_x = residual_backward(c, p.part(kEncoderNorm2, kNorm), g_x, c.site(block, kFeedForwardOut),
                          tape.residual2, [&](const at::Tensor& g_h, const at::Tensor& h) {
                            return feed_forward_backward(
                                c, p.part(kEncoderFeedForward, kFeedForward), g_h, h,
                                c.site(block, kHidden), tape.feed_forward);
                          });
  return residual_backward(c, p.part(kEncoderNorm1, kNorm), g_x, c.site(block, kAttentionOut),
                           tape.residual1, [&](const at::Tensor& g_h, const at::Tensor& h) {
                             return attention_backward(c, p.part(0, kAttention), g_h, h, {}, site,
                                                       tape.attention, nullptr);
                           });
}

at::Tensor Transformer::decoder_layer(const Pass& pass, std::int64_t layer, const UnitTensors& unit,
                                      const at::Tensor& x, const at::Tensor& memory,
                                      DecoderTape& tape) const {
  const PassContext& c = pass.context;
  const ParameterSpan p = span_of(unit);
  const auto block = kDecoderBlock + static_cast<std::uint64_t>(layer);
  const AttentionSite self = pass.decoder_site(c.site(block, kAttentionWeights));
  const AttentionSite cross = pass.cross_site(c.site(block, kCrossWeights));
  at::Tensor y = residual_forward(c, p.part(kDecoderNorm1, kNorm), x, c.site(block, kAttentionOut),
                                  tape.residual1, [&](const at::Tensor& h) {
                                    return attention_forward(c, p.part(0, kAttention), h, {}, self,
                                                             tape.self_attention);
                                  });
  y = residual_forward(c, p.part(kDecoderNorm2, kNorm), y, c.site(block, kCrossOut), tape.residual2,
                       [&](const at::Tensor& h) {
                         return attention_forward(c, p.part(kCross, kAttention), h, memory, cross,
                                                  tape.cross_attention);
                       });
  return residual_forward(c, p.part(kDecoderNorm3, kNorm), y, c.site(block, kFeedForwardOut),
                          tape.residual3, [&](const at::Tensor& h) {
                            return feed_forward(c, p.part(kDecoderFeedForward, kFeedForward), h,
                                                c.site(block, kHidden), tape.feed_forward);
                          });
}

at::Tensor Transformer::decoder_layer_backward(const Pass& pass, std::int64_t layer,
                                               UnitTensors& unit, const at::Tensor& g,
                                               const DecoderTape& tape,
                                               at::Tensor& g_memory) const {
  const PassContext& c = pass.context;
  const ParameterSpan p = span_of(unit, true);
  const auto block = kDecoderBlock + static_cast<std::uint64_t>(layer);
  const AttentionSite self = pass.decoder_site(c.site(block, kAttentionWeights));
  const AttentionSite cross = pass.cross_site(c.site(block, kCrossWeights));
  at::Tensor g_x = residual_backward(
      c, p.part(kDecoderNorm3, kNorm), g, c.site(block, kFeedForwardOut), tape.residual3,
      [&](const at::Tensor& g_h, const at::Tensor& h) {
        return feed_forward_backward(c, p.part(kDecoderFeedForward, kFeedForward), g_h, h,
                                     c.site(block, kHidden), tape.feed_forward);
      });
  g_x = residual_backward(c, p.part(kDecoderNorm2, kNorm), g_x, c.site(block, kCrossOut),
                          tape.residual2, [&](const at::Tensor& g_h, const at::Tensor& h) {
                            return attention_backward(c, p.part(kCross, kAttention), g_h, h,
                                                      pass.memory, cross, tape.cross_attention,
                                                      &g_memory);
                          });
  return residual_backward(c, p.part(kDecoderNorm1, kNorm), g_x, c.site(block, kAttentionOut),
                           tape.residual1, [&](const at::Tensor& g_h, const at::Tensor& h) {
                             return attention_backward(c, p.part(0, kAttention), g_h, h, {}, self,
                                                       tape.self_attention, nullptr);
                           });
}

void Transformer::backward(ParameterSource& source, Pass& pass, at::Tensor x, float smoothing,
                           float gradient_scale, double* loss) const {
  const bool tied = model_.tie_embeddings;
  const PassContext& c = pass.context;
  const float scale = std::sqrt(static_cast<float>(model_.d_model));
  const auto embedding_gradient = [&](UnitTensors& unit, const at::Tensor& g,
                                      const std::int64_t* ids, std::uint64_t site) {
    c.run(g, [&]<typename T>(const Kernels<T>& k) {
      k(op::EmbedBackward<T>{.g = k.elements(g),
                             .ids = ids,
                             .g_weight = unit.gradients[0].data_ptr<float>(),
                             .rows = g.size(0),
                             .width = g.size(1),
                             .scale = scale,
                             .dropout = c.site(kEmbeddingBlock, site)});
    });
  };
  UnitTensors* embeddings = tied ? &source.open_backward(source_unit_) : nullptr;
  if (tied) source.close_forward(source_unit_);

  UnitTensors& output = source.open_backward(output_unit_);
  const ParameterSpan p = span_of(output, true);
  const std::size_t bias = 2, weight = 3;
  const at::Tensor& w = output_weight(pass, output);
  at::Tensor& g_weight = tied ? embeddings->gradients[0] : p.gradients[weight];
  Write write = tied ? Write::kAdd : p.write;
  at::Tensor g = at::empty_like(x);
  {
    const at::Tensor hidden = layer_norm_forward(c, p.part(0, kNorm), x, pass.final_norm);
    x = at::Tensor();
    loss_slices(pass, hidden, w, p.values[bias], smoothing, gradient_scale, loss,
                [&](std::int64_t first, const at::Tensor& h, const at::Tensor& g_logits) {
                  gemm_.weight_gradient(g_logits, h, g_weight, std::exchange(write, Write::kAdd));
                  c.run(g_logits, [&]<typename T>(const Kernels<T>& k) {
                    k(op::AddColumnSums<T>{.x = k.elements(g_logits),
                                           .out = p.gradients[bias].data_ptr<float>(),
                                           .rows = g_logits.size(0),
                                           .columns = g_logits.size(1)});
                  });
                  gemm_.input_gradient(g_logits, w, g.narrow(0, first, h.size(0)));
                });
  }
  g = layer_norm_backward(c, p.part(0, kNorm), g, pass.final_norm);
  source.close_backward(output_unit_);

  at::Tensor g_memory = at::empty_like(pass.memory);
  c.run(g_memory, [&](const auto&) { g_memory.zero_(); });
  backward_layers(
      model_.num_decoder_layers,
      [&](std::int64_t k) {
        DecoderTape again;
        pass.decoder[static_cast<std::size_t>(k) + 1].input =
            decoder_layer(pass, k, source.open_forward(first_decoder_ + k),
                          pass.decoder[static_cast<std::size_t>(k)].input, pass.memory, again);
        source.close_forward(first_decoder_ + k);
      },
      [&](std::int64_t l) {
        UnitTensors& unit = source.open_backward(first_decoder_ + l);
        DecoderTape& tape = pass.decoder.back();
        if (pass.recompute) (void)decoder_layer(pass, l, unit, tape.input, pass.memory, tape);
        g = decoder_layer_backward(pass, l, unit, g, tape, g_memory);
        pass.decoder.pop_back();
        source.close_backward(first_decoder_ + l);
      });
  UnitTensors& target = tied ? *embeddings : source.open_backward(target_unit_);
  embedding_gradient(target, g, pass.arrays.target_in, 1);
  if (!tied) source.close_backward(target_unit_);

  g = g_memory;
  g_memory = at::Tensor();
  pass.memory = at::Tensor();
  backward_layers(
      model_.num_encoder_layers,
      [&](std::int64_t k) {
        EncoderTape again;
        pass.encoder[static_cast<std::size_t>(k) + 1].input =
            encoder_layer(pass, k, source.open_forward(first_encoder_ + k),
                          pass.encoder[static_cast<std::size_t>(k)].input, again);
        source.close_forward(first_encoder_ + k);
      },
      [&](std::int64_t l) {
        UnitTensors& unit = source.open_backward(first_encoder_ + l);
        EncoderTape& tape = pass.encoder.back();
        if (pass.recompute) (void)encoder_layer(pass, l, unit, tape.input, tape);
        g = encoder_layer_backward(pass, l, unit, g, tape);
        pass.encoder.pop_back();
        source.close_backward(first_encoder_ + l);
      });
  UnitTensors& first = tied ? *embeddings : source.open_backward(source_unit_);
  embedding_gradient(first, g, pass.arrays.source, 0);
  source.close_backward(source_unit_);
}

}  // namespace th::model
