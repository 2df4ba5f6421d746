#include "pass.hpp"

#include <ATen/ATen.h>

#include <cmath>

// The layers of encoder and decoder and the backward pass. Parameter order within a unit: Transformer::build_units.
namespace th::model {

namespace {

constexpr std::size_t kAttention = 4, kFeedForward = 4, kNorm = 2;
constexpr std::size_t kEncoderFeedForward = kAttention, kEncoderNorm1 = kEncoderFeedForward + kFeedForward, kEncoderNorm2 = kEncoderNorm1 + kNorm,
                      kEncoderFinalNorm = kEncoderNorm2 + kNorm;
constexpr std::size_t kCross = kAttention, kDecoderFeedForward = 2 * kAttention, kDecoderNorm1 = kDecoderFeedForward + kFeedForward,
                      kDecoderNorm2 = kDecoderNorm1 + kNorm, kDecoderNorm3 = kDecoderNorm2 + kNorm;

enum Site : std::uint64_t { kAttentionWeights, kAttentionOut, kCrossWeights, kCrossOut, kHidden, kFeedForwardOut };

ParameterSpan span_of(const UnitTensors& unit) { return {unit.values, {}}; }
ParameterSpan span_of(UnitTensors& unit, bool) { return {unit.values, unit.gradients}; }

}  // namespace

at::Tensor Transformer::encoder_layer(const Pass& pass, std::int64_t layer, const UnitTensors& unit, const at::Tensor& x, EncoderTape& tape) const {
  const PassContext& c = pass.context;
  const ParameterSpan p = span_of(unit);
  const auto block = static_cast<std::uint64_t>(layer);
  const data::Batch& b = pass.batch;
  const AttentionShape shape{b.sentences, b.source_length, b.source_length};
  const AttentionMask mask{b.source_lengths.data(), false};
  at::Tensor y = residual_forward(c, p.part(kEncoderNorm1, kNorm), x, c.site(block, kAttentionOut), tape.norm1, [&](const at::Tensor& h) {
    return attention_forward(c, p.part(0, kAttention), h, {}, shape, mask, c.site(block, kAttentionWeights), tape.attention);
  });
  y = residual_forward(c, p.part(kEncoderNorm2, kNorm), y, c.site(block, kFeedForwardOut), tape.norm2, [&](const at::Tensor& h) {
    return feed_forward(c, p.part(kEncoderFeedForward, kFeedForward), h, c.site(block, kHidden), tape.feed_forward);
  });
  if (layer + 1 == model_.num_encoder_layers) y = layer_norm_forward(p.part(kEncoderFinalNorm, kNorm), y, tape.final_norm);
  return y;
}

at::Tensor Transformer::encoder_layer_backward(const Pass& pass, std::int64_t layer, UnitTensors& unit, const at::Tensor& g,
                                               const EncoderTape& tape) const {
  const PassContext& c = pass.context;
  const ParameterSpan p = span_of(unit, true);
  const auto block = static_cast<std::uint64_t>(layer);
  const AttentionShape shape{pass.batch.sentences, pass.batch.source_length, pass.batch.source_length};
  at::Tensor g_x = g;
  if (layer + 1 == model_.num_encoder_layers) g_x = layer_norm_backward(p.part(kEncoderFinalNorm, kNorm), g_x, tape.final_norm);
  g_x = residual_backward(c, p.part(kEncoderNorm2, kNorm), g_x, c.site(block, kFeedForwardOut), tape.norm2, [&](const at::Tensor& g_h) {
    return feed_forward_backward(c, p.part(kEncoderFeedForward, kFeedForward), g_h, c.site(block, kHidden), tape.feed_forward);
  });
  return residual_backward(c, p.part(kEncoderNorm1, kNorm), g_x, c.site(block, kAttentionOut), tape.norm1, [&](const at::Tensor& g_h) {
    return attention_backward(c, p.part(0, kAttention), g_h, shape, c.site(block, kAttentionWeights), tape.attention, nullptr);
  });
}

at::Tensor Transformer::decoder_layer(const Pass& pass, std::int64_t layer, const UnitTensors& unit, const at::Tensor& x, const at::Tensor& memory,
                                      DecoderTape& tape) const {
  const PassContext& c = pass.context;
  const ParameterSpan p = span_of(unit);
  const auto block = kDecoderBlock + static_cast<std::uint64_t>(layer);
  const data::Batch& b = pass.batch;
  const AttentionShape self{b.sentences, b.target_length, b.target_length};
  const AttentionShape cross{b.sentences, b.target_length, b.source_length};
  at::Tensor y = residual_forward(c, p.part(kDecoderNorm1, kNorm), x, c.site(block, kAttentionOut), tape.norm1, [&](const at::Tensor& h) {
    return attention_forward(c, p.part(0, kAttention), h, {}, self, {nullptr, true}, c.site(block, kAttentionWeights), tape.self_attention);
  });
  y = residual_forward(c, p.part(kDecoderNorm2, kNorm), y, c.site(block, kCrossOut), tape.norm2, [&](const at::Tensor& h) {
    return attention_forward(c, p.part(kCross, kAttention), h, memory, cross, {b.source_lengths.data(), false}, c.site(block, kCrossWeights),
                             tape.cross_attention);
  });
  return residual_forward(c, p.part(kDecoderNorm3, kNorm), y, c.site(block, kFeedForwardOut), tape.norm3, [&](const at::Tensor& h) {
    return feed_forward(c, p.part(kDecoderFeedForward, kFeedForward), h, c.site(block, kHidden), tape.feed_forward);
  });
}

at::Tensor Transformer::decoder_layer_backward(const Pass& pass, std::int64_t layer, UnitTensors& unit, const at::Tensor& g, const DecoderTape& tape,
                                               at::Tensor& g_memory) const {
  const PassContext& c = pass.context;
  const ParameterSpan p = span_of(unit, true);
  const auto block = kDecoderBlock + static_cast<std::uint64_t>(layer);
  const data::Batch& b = pass.batch;
  const AttentionShape self{b.sentences, b.target_length, b.target_length};
  const AttentionShape cross{b.sentences, b.target_length, b.source_length};
  at::Tensor g_x = residual_backward(c, p.part(kDecoderNorm3, kNorm), g, c.site(block, kFeedForwardOut), tape.norm3, [&](const at::Tensor& g_h) {
    return feed_forward_backward(c, p.part(kDecoderFeedForward, kFeedForward), g_h, c.site(block, kHidden), tape.feed_forward);
  });
  g_x = residual_backward(c, p.part(kDecoderNorm2, kNorm), g_x, c.site(block, kCrossOut), tape.norm2, [&](const at::Tensor& g_h) {
    return attention_backward(c, p.part(kCross, kAttention), g_h, cross, c.site(block, kCrossWeights), tape.cross_attention, &g_memory);
  });
  return residual_backward(c, p.part(kDecoderNorm1, kNorm), g_x, c.site(block, kAttentionOut), tape.norm1, [&](const at::Tensor& g_h) {
    return attention_backward(c, p.part(0, kAttention), g_h, self, c.site(block, kAttentionWeights), tape.self_attention, nullptr);
  });
}

void Transformer::backward(ParameterSource& source, Pass& pass, const at::Tensor& g_logits) const {
  const bool tied = model_.tie_embeddings;
  const data::Batch& b = pass.batch;
  const float scale = std::sqrt(static_cast<float>(model_.d_model));
  const auto embedding_gradient = [&](UnitTensors& unit, const at::Tensor& g, const std::vector<std::int64_t>& ids, std::uint64_t site) {
    embed_backward(g.data_ptr<float>(), ids.data(), unit.gradients[0].data_ptr<float>(), g.size(0), g.size(1), scale,
                   pass.context.site(kEmbeddingBlock, site));
  };
  UnitTensors* embeddings = tied ? &source.open_backward(source_unit_) : nullptr;
  if (tied) source.close_forward(source_unit_);

  UnitTensors& output = source.open_backward(output_unit_);
  const ParameterSpan p = span_of(output, true);
  const std::size_t bias = 2, weight = 3;
  at::Tensor hidden = at::empty_like(pass.final_norm.x);
  layer_norm(pass.final_norm.x.data_ptr<float>(), p.values[0].data_ptr<float>(), p.values[1].data_ptr<float>(), hidden.data_ptr<float>(),
             pass.final_norm.mean.data_ptr<float>(), pass.final_norm.rstd.data_ptr<float>(), hidden.size(0), hidden.size(1));
  at::Tensor& g_weight = tied ? embeddings->gradients[0] : p.gradients[weight];
  gemm_.add_weight_gradient(g_logits, hidden, g_weight);
  add_column_sums(g_logits.data_ptr<float>(), p.gradients[bias].data_ptr<float>(), g_logits.size(0), g_logits.size(1));
  at::Tensor g = gemm_.input_gradient(g_logits, tied ? embeddings->values[0] : p.values[weight]).contiguous();
  g = layer_norm_backward(p.part(0, kNorm), g, pass.final_norm);
  source.close_backward(output_unit_);

  at::Tensor g_memory = at::zeros_like(pass.memory);
  for (std::int64_t l = model_.num_decoder_layers - 1; l >= 0; --l) {
    UnitTensors& unit = source.open_backward(first_decoder_ + l);
    DecoderTape& tape = pass.decoder.back();
    if (pass.recompute) (void)decoder_layer(pass, l, unit, at::Tensor(tape.input), pass.memory, tape);
    g = decoder_layer_backward(pass, l, unit, g, tape, g_memory);
    pass.decoder.pop_back();
    source.close_backward(first_decoder_ + l);
  }
  UnitTensors& target = tied ? *embeddings : source.open_backward(target_unit_);
  embedding_gradient(target, g, b.target_in, 1);
  if (!tied) source.close_backward(target_unit_);

  g = g_memory;
  for (std::int64_t l = model_.num_encoder_layers - 1; l >= 0; --l) {
    UnitTensors& unit = source.open_backward(first_encoder_ + l);
    EncoderTape& tape = pass.encoder.back();
    if (pass.recompute) (void)encoder_layer(pass, l, unit, at::Tensor(tape.input), tape);
    g = encoder_layer_backward(pass, l, unit, g, tape);
    pass.encoder.pop_back();
    source.close_backward(first_encoder_ + l);
  }
  UnitTensors& first = tied ? *embeddings : source.open_backward(source_unit_);
  embedding_gradient(first, g, b.source, 0);
  source.close_backward(source_unit_);
}

std::vector<std::vector<std::int32_t>> Transformer::greedy(ParameterSource& source, const data::Batch& batch, std::int64_t max_length) {
  c10::InferenceMode no_grad;
  data::Batch work = batch;
  Pass pass{work, context(0.0, 0), false, false, {}, {}, {}, {}, {}};
  open_tied(source, pass);
  const at::Tensor memory = encode(source, pass);
  std::vector<std::vector<std::int32_t>> out(static_cast<std::size_t>(batch.sentences));
  std::vector<bool> finished(out.size(), false);
  const std::int64_t limit = std::min(max_length, positions_.size(0) - 1);
  for (std::int64_t length = 1; length <= limit; ++length) {
    work.target_length = length;
    work.target_in.assign(static_cast<std::size_t>(batch.sentences * length), data::kBegin);
    for (std::size_t b = 0; b < out.size(); ++b) {
      for (std::size_t t = 0; t < out[b].size() && t + 1 < static_cast<std::size_t>(length); ++t) work.target_in[b * static_cast<std::size_t>(length) + t + 1] = out[b][t];
    }
    LayerNormTape tape;
    const at::Tensor hidden = decode(source, pass, memory);
    const at::Tensor last = hidden.view({batch.sentences, length, model_.d_model}).select(1, length - 1).contiguous();
    const at::Tensor scores = project(pass, source, last, tape);
    const at::Tensor best = scores.argmax(1);
    bool all = true;
    for (std::size_t b = 0; b < out.size(); ++b) {
      const std::int64_t id = best.data_ptr<std::int64_t>()[b];
      if (id == data::kEnd) finished[b] = true;
      if (!finished[b]) out[b].push_back(static_cast<std::int32_t>(id));
      all = all && finished[b];
    }
    if (all) break;
  }
  if (model_.tie_embeddings) source.close_forward(source_unit_);
  return out;
}

}  // namespace th::model
