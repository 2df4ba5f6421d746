#include "th/model/layers.hpp"

#include "th/base/hash.hpp"

#include <ATen/ATen.h>

#include <cmath>

namespace th::model {

namespace {

float* data(const at::Tensor& t) { return t.data_ptr<float>(); }

at::Tensor empty(at::IntArrayRef shape) { return at::empty(shape, at::TensorOptions().dtype(at::kFloat)); }

/// y = x W^T + bias.
at::Tensor linear(const PassContext& context, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  at::Tensor y = context.gemm->forward(x, weight);
  add_bias(data(y), data(bias), y.size(0), y.size(1));
  return y;
}

/// Adds weight and bias gradients and returns the input's.
at::Tensor linear_backward(const PassContext& context, const at::Tensor& g, const at::Tensor& x, const at::Tensor& weight, at::Tensor g_weight,
                           const at::Tensor& g_bias) {
  context.gemm->add_weight_gradient(g, x, g_weight);
  add_column_sums(data(g), data(g_bias), g.size(0), g.size(1));
  return context.gemm->input_gradient(g, weight);
}

}  // namespace

Dropout PassContext::site(std::uint64_t block, std::uint64_t site_number) const {
  return {hash_pair(hash_pair(dropout_key, block), site_number), dropout};
}

ParameterSpan ParameterSpan::part(std::size_t first, std::size_t count) const {
  return {values.subspan(first, count), gradients.empty() ? gradients : gradients.subspan(first, count)};
}

at::Tensor layer_norm_forward(const ParameterSpan& p, const at::Tensor& x_MD, LayerNormTape& tape) {
  at::Tensor y = at::empty_like(x_MD);
  tape = {x_MD, empty({x_MD.size(0)}), empty({x_MD.size(0)})};
  layer_norm(data(x_MD), data(p.values[0]), data(p.values[1]), data(y), data(tape.mean), data(tape.rstd), x_MD.size(0), x_MD.size(1));
  return y;
}

at::Tensor layer_norm_backward(const ParameterSpan& p, const at::Tensor& g_MD, const LayerNormTape& tape) {
  at::Tensor g_x = at::empty_like(g_MD);
  layer_norm_backward(data(g_MD), data(tape.x), data(p.values[0]), data(tape.mean), data(tape.rstd), data(g_x), data(p.gradients[0]),
                      data(p.gradients[1]), g_MD.size(0), g_MD.size(1));
  return g_x;
}

at::Tensor attention_forward(const PassContext& context, const ParameterSpan& p, const at::Tensor& x_MD, const at::Tensor& memory_MD,
                             AttentionShape shape, AttentionMask mask, Dropout dropout, AttentionTape& tape) {
  const std::int64_t width = x_MD.size(1);
  const std::int64_t heads = context.heads;
  const std::int64_t head_width = width / heads;
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_width));
  const bool cross = memory_MD.defined();
  tape.queries_in = x_MD;
  tape.keys_in = memory_MD;
  tape.q = empty({shape.batch * heads, shape.queries, head_width});
  tape.k = empty({shape.batch * heads, shape.keys, head_width});
  tape.v = empty({shape.batch * heads, shape.keys, head_width});
  const auto split = [&](const at::Tensor& packed, std::int64_t column, at::Tensor& out, std::int64_t length, float factor) {
    split_heads(data(packed) + column, data(out), shape.batch, length, heads, head_width, packed.size(1), factor);
  };
  if (cross) {
    const at::Tensor q = linear(context, x_MD, p.values[0].narrow(0, 0, width), p.values[1].narrow(0, 0, width));
    const at::Tensor kv = linear(context, memory_MD, p.values[0].narrow(0, width, 2 * width), p.values[1].narrow(0, width, 2 * width));
    split(q, 0, tape.q, shape.queries, scale);
    split(kv, 0, tape.k, shape.keys, 1.0F);
    split(kv, width, tape.v, shape.keys, 1.0F);
  } else {
    const at::Tensor qkv = linear(context, x_MD, p.values[0], p.values[1]);
    split(qkv, 0, tape.q, shape.queries, scale);
    split(qkv, width, tape.k, shape.keys, 1.0F);
    split(qkv, 2 * width, tape.v, shape.keys, 1.0F);
  }
  tape.probabilities = at::bmm(tape.q, tape.k.transpose(1, 2));
  masked_softmax(data(tape.probabilities), shape.batch, heads, shape.queries, shape.keys, mask);
  at::Tensor dropped = tape.probabilities;
  if (dropout.rate != 0.0F) {
    dropped = at::empty_like(tape.probabilities);
    apply_dropout(data(tape.probabilities), data(dropped), dropped.numel(), dropout);
  }
  const at::Tensor out = at::bmm(dropped, tape.v);
  tape.merged = empty({shape.batch * shape.queries, width});
  merge_heads(data(out), data(tape.merged), shape.batch, shape.queries, heads, head_width, width, 1.0F);
  return linear(context, tape.merged, p.values[2], p.values[3]);
}

at::Tensor attention_backward(const PassContext& context, const ParameterSpan& p, const at::Tensor& g_MD, AttentionShape shape, Dropout dropout,
                              const AttentionTape& tape, at::Tensor* g_memory) {
  const std::int64_t width = g_MD.size(1);
  const std::int64_t heads = context.heads;
  const std::int64_t head_width = width / heads;
  const float scale = 1.0F / std::sqrt(static_cast<float>(head_width));
  const at::Tensor g_merged = linear_backward(context, g_MD, tape.merged, p.values[2], p.gradients[2], p.gradients[3]);
  at::Tensor g_out = empty({shape.batch * heads, shape.queries, head_width});
  split_heads(data(g_merged), data(g_out), shape.batch, shape.queries, heads, head_width, width, 1.0F);
  at::Tensor dropped = tape.probabilities;
  if (dropout.rate != 0.0F) {
    dropped = at::empty_like(tape.probabilities);
    apply_dropout(data(tape.probabilities), data(dropped), dropped.numel(), dropout);
  }
  const at::Tensor g_v = at::bmm(dropped.transpose(1, 2), g_out);
  at::Tensor g_scores = at::bmm(g_out, tape.v.transpose(1, 2));
  softmax_dropout_backward(data(tape.probabilities), data(g_scores), shape.batch * heads * shape.queries, shape.keys, dropout);
  const at::Tensor g_q = at::bmm(g_scores, tape.k);
  const at::Tensor g_k = at::bmm(g_scores.transpose(1, 2), tape.q);
  const auto merge = [&](const at::Tensor& from, at::Tensor& packed, std::int64_t column, std::int64_t length, float factor) {
    merge_heads(data(from), data(packed) + column, shape.batch, length, heads, head_width, packed.size(1), factor);
  };
  if (g_memory == nullptr) {
    at::Tensor g_qkv = empty({shape.batch * shape.queries, 3 * width});
    merge(g_q, g_qkv, 0, shape.queries, scale);
    merge(g_k, g_qkv, width, shape.keys, 1.0F);
    merge(g_v, g_qkv, 2 * width, shape.keys, 1.0F);
    return linear_backward(context, g_qkv, tape.queries_in, p.values[0], p.gradients[0], p.gradients[1]);
  }
  at::Tensor g_query = empty({shape.batch * shape.queries, width});
  at::Tensor g_kv = empty({shape.batch * shape.keys, 2 * width});
  merge(g_q, g_query, 0, shape.queries, scale);
  merge(g_k, g_kv, 0, shape.keys, 1.0F);
  merge(g_v, g_kv, width, shape.keys, 1.0F);
  const at::Tensor g_keys = linear_backward(context, g_kv, tape.keys_in, p.values[0].narrow(0, width, 2 * width),
                                            p.gradients[0].narrow(0, width, 2 * width), p.gradients[1].narrow(0, width, 2 * width));
  add_to(data(*g_memory), data(g_keys.contiguous()), g_keys.numel());
  return linear_backward(context, g_query, tape.queries_in, p.values[0].narrow(0, 0, width), p.gradients[0].narrow(0, 0, width),
                         p.gradients[1].narrow(0, 0, width));
}

at::Tensor feed_forward(const PassContext& context, const ParameterSpan& p, const at::Tensor& x_MD, Dropout dropout, FeedForwardTape& tape) {
  tape.x = x_MD;
  tape.hidden = context.gemm->forward(x_MD, p.values[0]);
  bias_relu_dropout(data(tape.hidden), data(p.values[1]), tape.hidden.size(0), tape.hidden.size(1), dropout);
  return linear(context, tape.hidden, p.values[2], p.values[3]);
}

at::Tensor feed_forward_backward(const PassContext& context, const ParameterSpan& p, const at::Tensor& g_MD, Dropout dropout,
                                 const FeedForwardTape& tape) {
  const at::Tensor g_hidden = linear_backward(context, g_MD, tape.hidden, p.values[2], p.gradients[2], p.gradients[3]).contiguous();
  relu_dropout_backward(data(tape.hidden), data(g_hidden), g_hidden.numel(), dropout);
  return linear_backward(context, g_hidden, tape.x, p.values[0], p.gradients[0], p.gradients[1]);
}

at::Tensor residual_forward(const PassContext& context, const ParameterSpan& norm, const at::Tensor& x_MD, Dropout dropout, LayerNormTape& tape,
                            const Body& body) {
  if (context.pre_norm) {
    const at::Tensor s = body(layer_norm_forward(norm, x_MD, tape));
    at::Tensor y = at::empty_like(x_MD);
    add_dropout(data(x_MD), data(s), data(y), y.numel(), dropout);
    return y;
  }
  const at::Tensor s = body(x_MD);
  add_dropout(data(x_MD), data(s), data(s), s.numel(), dropout);
  return layer_norm_forward(norm, s, tape);
}

at::Tensor residual_backward(const PassContext& context, const ParameterSpan& norm, const at::Tensor& g_MD, Dropout dropout,
                             const LayerNormTape& tape, const Body& body_backward) {
  const at::Tensor g_sum = context.pre_norm ? g_MD : layer_norm_backward(norm, g_MD, tape);
  at::Tensor g_s = at::empty_like(g_sum);
  dropout_backward(data(g_sum), data(g_s), g_s.numel(), dropout);
  at::Tensor g_x = body_backward(g_s).contiguous();
  if (context.pre_norm) g_x = layer_norm_backward(norm, g_x, tape);
  add_to(data(g_x), data(g_sum), g_x.numel());
  return g_x;
}

}  // namespace th::model
