#include "th/model/layers.hpp"

#include "th/base/hash.hpp"

#include <ATen/ATen.h>

#include <cmath>

namespace th::model {

namespace {

/// Of gradients of parameters and of statistics, which are fp32 always.
float* fp32(const at::Tensor& t) { return t.data_ptr<float>(); }

at::Tensor empty_like_rows(const at::Tensor& like, at::IntArrayRef shape) { return at::empty(shape, like.options()); }
at::Tensor empty_fp32(std::int64_t n) { return at::empty({n}, at::TensorOptions().dtype(at::kFloat)); }

/// Adds weight and bias gradients and returns the input's.
at::Tensor linear_backward(const PassContext& context, const at::Tensor& g, const at::Tensor& x, const at::Tensor& weight,
                           at::Tensor g_weight, const at::Tensor& g_bias, Write write) {
  context.gemm->weight_gradient(g, x, g_weight, write);
  context.run(g, [&](auto element) {
    using T = decltype(element);
    add_column_sums(elements<T>(g), fp32(g_bias), g.size(0), g.size(1));
  });
  return context.gemm->input_gradient(g, weight);
}

/// Sizes of one attention, and the moves between [B*T, columns] and [B*H, T, K].
struct Heads {
  Heads(const PassContext& c, const AttentionSite& s, std::int64_t model_width)
      : context(c),
        site(s),
        width(model_width),
        count(c.heads),
        head_width(model_width / c.heads),
        scale(1.0F / std::sqrt(static_cast<float>(head_width))) {}
  const PassContext& context;
  const AttentionSite& site;
  std::int64_t width, count, head_width;
  float scale;

  [[nodiscard]] at::Tensor split(const at::Tensor& packed, std::int64_t column, std::int64_t length, float factor) const {
    at::Tensor out = empty_like_rows(packed, {site.batch * count, length, head_width});
    context.run(packed, [&](auto element) {
      using T = decltype(element);
      split_heads(elements<T>(packed) + column, elements<T>(out), site.batch, length, count, head_width, packed.size(1), factor);
    });
    return out;
  }
  void merge(const at::Tensor& from, at::Tensor& packed, std::int64_t column, std::int64_t length, float factor) const {
    context.run(from, [&](auto element) {
      using T = decltype(element);
      merge_heads(elements<T>(from), elements<T>(packed) + column, site.batch, length, count, head_width, packed.size(1), factor);
    });
  }
  [[nodiscard]] at::Tensor probabilities(const AttentionTape& tape) const {
    at::Tensor p = context.gemm->batched(tape.q, tape.k.transpose(1, 2));
    context.run(p, [&](auto element) {
      using T = decltype(element);
      masked_softmax(elements<T>(p), site.batch, count, site.queries, site.keys, site.mask);
    });
    return p;
  }
  [[nodiscard]] at::Tensor dropped(const at::Tensor& p) const {
    if (site.dropout.rate == 0.0F) return p;
    at::Tensor out = at::empty_like(p);
    context.run(p, [&](auto element) {
      using T = decltype(element);
      apply_dropout(elements<T>(p), elements<T>(out), out.numel(), site.dropout);
    });
    return out;
  }
  [[nodiscard]] at::Tensor merged(const at::Tensor& dropped_p, const at::Tensor& v) const {
    const at::Tensor out = context.gemm->batched(dropped_p, v);
    at::Tensor packed = empty_like_rows(v, {site.batch * site.queries, width});
    merge(out, packed, 0, site.queries, 1.0F);
    return packed;
  }
};

}  // namespace

at::Tensor linear(const PassContext& context, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return context.gemm->forward(x, weight, bias);
}

Dropout PassContext::site(std::uint64_t block, std::uint64_t site_number) const {
  return {hash_pair(hash_pair(dropout_key, block), site_number), dropout};
}

ParameterSpan ParameterSpan::part(std::size_t first, std::size_t count) const {
  return {values.subspan(first, count), gradients.empty() ? gradients : gradients.subspan(first, count), write};
}

at::Tensor layer_norm_forward(const PassContext& context, const ParameterSpan& p, const at::Tensor& x_MD, LayerNormTape& tape) {
  tape = {x_MD, empty_fp32(x_MD.size(0)), empty_fp32(x_MD.size(0))};
  return layer_norm_again(context, p, tape);
}

at::Tensor layer_norm_again(const PassContext& context, const ParameterSpan& p, const LayerNormTape& tape) {
  at::Tensor y = at::empty_like(tape.x);
  context.run(tape.x, [&](auto element) {
    using T = decltype(element);
    layer_norm(elements<T>(tape.x), elements<T>(p.values[0]), elements<T>(p.values[1]), elements<T>(y), fp32(tape.mean), fp32(tape.rstd), y.size(0),
               y.size(1));
  });
  return y;
}

at::Tensor layer_norm_backward(const PassContext& context, const ParameterSpan& p, const at::Tensor& g_MD, const LayerNormTape& tape) {
  at::Tensor g_x = at::empty_like(g_MD);
  context.run(g_MD, [&](auto element) {
    using T = decltype(element);
    layer_norm_backward(elements<T>(g_MD), elements<T>(tape.x), elements<T>(p.values[0]), fp32(tape.mean), fp32(tape.rstd), elements<T>(g_x),
                        fp32(p.gradients[0]), fp32(p.gradients[1]), g_MD.size(0), g_MD.size(1));
  });
  return g_x;
}

at::Tensor attention_forward(const PassContext& context, const ParameterSpan& p, const at::Tensor& x_MD, const at::Tensor& memory_MD,
                             const AttentionSite& site, AttentionTape& tape) {
  const Heads heads(context, site, x_MD.size(1));
  const std::int64_t width = heads.width;
  if (memory_MD.defined()) {
    const at::Tensor q = linear(context, x_MD, p.values[0].narrow(0, 0, width), p.values[1].narrow(0, 0, width));
    tape.q = heads.split(q, 0, site.queries, heads.scale);
    const at::Tensor kv = linear(context, memory_MD, p.values[0].narrow(0, width, 2 * width), p.values[1].narrow(0, width, 2 * width));
    tape.k = heads.split(kv, 0, site.keys, 1.0F);
    tape.v = heads.split(kv, width, site.keys, 1.0F);
  } else {
    const at::Tensor qkv = linear(context, x_MD, p.values[0], p.values[1]);
    tape.q = heads.split(qkv, 0, site.queries, heads.scale);
    tape.k = heads.split(qkv, width, site.keys, 1.0F);
    tape.v = heads.split(qkv, 2 * width, site.keys, 1.0F);
  }
  const at::Tensor probabilities = heads.probabilities(tape);
  const at::Tensor merged = heads.merged(heads.dropped(probabilities), tape.v);
  if (context.keep_cheap) {
    tape.probabilities = probabilities;
    tape.merged = merged;
  }
  return linear(context, merged, p.values[2], p.values[3]);
}

at::Tensor attention_backward(const PassContext& context, const ParameterSpan& p, const at::Tensor& g_MD, const at::Tensor& x_MD,
                              const at::Tensor& memory_MD, const AttentionSite& site, const AttentionTape& tape, at::Tensor* g_memory) {
  const Heads heads(context, site, g_MD.size(1));
  const Gemm& gemm = *context.gemm;
  const std::int64_t width = heads.width;
  const at::Tensor probabilities = tape.probabilities.defined() ? tape.probabilities : heads.probabilities(tape);
  at::Tensor dropped = heads.dropped(probabilities);
  const at::Tensor merged = tape.merged.defined() ? tape.merged : heads.merged(dropped, tape.v);
  const at::Tensor g_merged = linear_backward(context, g_MD, merged, p.values[2], p.gradients[2], p.gradients[3], p.write);
  const at::Tensor g_out = heads.split(g_merged, 0, site.queries, 1.0F);
  const at::Tensor g_v = gemm.batched(dropped.transpose(1, 2), g_out);
  dropped = at::Tensor();
  at::Tensor g_scores = gemm.batched(g_out, tape.v.transpose(1, 2));
  context.run(probabilities, [&](auto element) {
    using T = decltype(element);
    softmax_dropout_backward(elements<T>(probabilities), elements<T>(g_scores), site.batch * heads.count * site.queries, site.keys, site.dropout);
  });
  const at::Tensor g_q = gemm.batched(g_scores, tape.k);
  const at::Tensor g_k = gemm.batched(g_scores.transpose(1, 2), tape.q);
  if (!memory_MD.defined()) {
    at::Tensor g_qkv = empty_like_rows(g_MD, {site.batch * site.queries, 3 * width});
    heads.merge(g_q, g_qkv, 0, site.queries, heads.scale);
    heads.merge(g_k, g_qkv, width, site.keys, 1.0F);
    heads.merge(g_v, g_qkv, 2 * width, site.keys, 1.0F);
    return linear_backward(context, g_qkv, x_MD, p.values[0], p.gradients[0], p.gradients[1], p.write);
  }
  at::Tensor g_query = empty_like_rows(g_MD, {site.batch * site.queries, width});
  at::Tensor g_kv = empty_like_rows(g_MD, {site.batch * site.keys, 2 * width});
  heads.merge(g_q, g_query, 0, site.queries, heads.scale);
  heads.merge(g_k, g_kv, 0, site.keys, 1.0F);
  heads.merge(g_v, g_kv, width, site.keys, 1.0F);
  const at::Tensor g_keys = linear_backward(context, g_kv, memory_MD, p.values[0].narrow(0, width, 2 * width),
                                            p.gradients[0].narrow(0, width, 2 * width), p.gradients[1].narrow(0, width, 2 * width), p.write);
  context.run(*g_memory, [&](auto element) {
    using T = decltype(element);
    add_to(elements<T>(*g_memory), elements<T>(g_keys), g_keys.numel());
  });
  return linear_backward(context, g_query, x_MD, p.values[0].narrow(0, 0, width), p.gradients[0].narrow(0, 0, width),
                         p.gradients[1].narrow(0, 0, width), p.write);
}

at::Tensor feed_forward(const PassContext& context, const ParameterSpan& p, const at::Tensor& x_MD, Dropout dropout,
                        FeedForwardTape& tape) {
  tape.hidden = context.gemm->forward(x_MD, p.values[0]);  // bias_relu_dropout adds the bias
  context.run(tape.hidden, [&](auto element) {
    using T = decltype(element);
    bias_relu_dropout(elements<T>(tape.hidden), elements<T>(p.values[1]), tape.hidden.size(0), tape.hidden.size(1), dropout);
  });
  return linear(context, tape.hidden, p.values[2], p.values[3]);
}

at::Tensor feed_forward_backward(const PassContext& context, const ParameterSpan& p, const at::Tensor& g_MD, const at::Tensor& x_MD,
                                 Dropout dropout, const FeedForwardTape& tape) {
  const at::Tensor g_hidden = linear_backward(context, g_MD, tape.hidden, p.values[2], p.gradients[2], p.gradients[3], p.write);
  context.run(tape.hidden, [&](auto element) {
    using T = decltype(element);
    relu_dropout_backward(elements<T>(tape.hidden), elements<T>(g_hidden), g_hidden.numel(), dropout);
  });
  return linear_backward(context, g_hidden, x_MD, p.values[0], p.gradients[0], p.gradients[1], p.write);
}

at::Tensor residual_forward(const PassContext& context, const ParameterSpan& norm, const at::Tensor& x_MD, Dropout dropout,
                            ResidualTape& tape, const Body& body) {
  if (context.pre_norm) {
    const at::Tensor h = layer_norm_forward(context, norm, x_MD, tape.norm);
    if (context.keep_cheap) tape.body_input = h;
    const at::Tensor s = body(h);
    at::Tensor y = at::empty_like(x_MD);
    context.run(x_MD, [&](auto element) {
      using T = decltype(element);
      add_dropout(elements<T>(x_MD), elements<T>(s), elements<T>(y), y.numel(), dropout);
    });
    return y;
  }
  tape.body_input = x_MD;
  const at::Tensor s = body(x_MD);
  context.run(x_MD, [&](auto element) {
    using T = decltype(element);
    add_dropout(elements<T>(x_MD), elements<T>(s), elements<T>(s), s.numel(), dropout);
  });
  return layer_norm_forward(context, norm, s, tape.norm);
}

at::Tensor residual_backward(const PassContext& context, const ParameterSpan& norm, const at::Tensor& g_MD, Dropout dropout,
                             const ResidualTape& tape, const BodyBackward& body_backward) {
  const at::Tensor g_sum = context.pre_norm ? g_MD : layer_norm_backward(context, norm, g_MD, tape.norm);
  at::Tensor g_x;
  {
    at::Tensor g_s = at::empty_like(g_sum);
    context.run(g_sum, [&](auto element) {
      using T = decltype(element);
      dropout_backward(elements<T>(g_sum), elements<T>(g_s), g_s.numel(), dropout);
    });
    g_x = body_backward(g_s, tape.body_input.defined() ? tape.body_input : layer_norm_again(context, norm, tape.norm));
  }
  if (context.pre_norm) g_x = layer_norm_backward(context, norm, g_x, tape.norm);
  context.run(g_x, [&](auto element) {
    using T = decltype(element);
    add_to(elements<T>(g_x), elements<T>(g_sum), g_x.numel());
  });
  return g_x;
}

}  // namespace th::model
