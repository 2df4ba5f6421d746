#include "th/model/blocks/layers.hpp"

#include "model/blocks/layer_pieces.hpp"
#include "th/base/hash.hpp"

#include <ATen/ATen.h>

namespace th::model {

namespace {

at::Tensor empty_fp32(const at::Tensor& like, std::int64_t n) {
  return at::empty({n}, like.options().dtype(at::kFloat));
}

}  // namespace

at::Tensor linear_backward(const PassContext& context, const at::Tensor& g, const at::Tensor& x,
                           const at::Tensor& weight, at::Tensor g_weight, const at::Tensor& g_bias,
                           Write write) {
  context.gemm->weight_gradient(g, x, g_weight, write);
  context.run(g, [&](const auto& k) {
    k->add_column_sums(k.elements(g), fp32(g_bias), g.size(0), g.size(1), k.stream);
  });
  return context.gemm->input_gradient(g, weight);
}

at::Tensor linear(const PassContext& context, const at::Tensor& x, const at::Tensor& weight,
                  const at::Tensor& bias) {
  return context.gemm->forward(x, weight, bias);
}

bool PassContext::fuses(at::ScalarType type, std::int64_t queries, std::int64_t keys,
                        std::int64_t head_width) const {
  if (!fused_attention) return false;
  if (memory == ComputeDevice::Memory::kHost) return host_kernels().fp32->attention != nullptr;
  const bool there = !gemm->computes() || kernels->bf16->attention != nullptr;  // a plan is told
  return there && type != at::kFloat && runtime::fuses_attention(queries, keys, head_width);
}

Dropout PassContext::site(std::uint64_t block, std::uint64_t site_number) const {
  return {hash_pair(hash_pair(dropout_key, block), site_number), dropout};
}

ParameterSpan ParameterSpan::part(std::size_t first, std::size_t count) const {
  return {values.subspan(first, count),
          gradients.empty() ? gradients : gradients.subspan(first, count), write};
}

at::Tensor layer_norm_forward(const PassContext& context, const ParameterSpan& p,
                              const at::Tensor& x_MD, LayerNormTape& tape) {
  tape = {x_MD, empty_fp32(x_MD, x_MD.size(0)), empty_fp32(x_MD, x_MD.size(0))};
  return layer_norm_again(context, p, tape);
}

at::Tensor layer_norm_again(const PassContext& context, const ParameterSpan& p,
                            const LayerNormTape& tape) {
  at::Tensor y = at::empty_like(tape.x);
  context.run(tape.x, [&](const auto& k) {
    k->layer_norm(k.elements(tape.x), k.elements(p.values[0]), k.elements(p.values[1]),
                  k.elements(y), fp32(tape.mean), fp32(tape.rstd), y.size(0), y.size(1), k.stream);
  });
  return y;
}

at::Tensor layer_norm_backward(const PassContext& context, const ParameterSpan& p,
                               const at::Tensor& g_MD, const LayerNormTape& tape) {
  at::Tensor g_x = at::empty_like(g_MD);
  context.run(g_MD, [&](const auto& k) {
    k->layer_norm_backward(k.elements(g_MD), k.elements(tape.x), k.elements(p.values[0]),
                           fp32(tape.mean), fp32(tape.rstd), k.elements(g_x), fp32(p.gradients[0]),
                           fp32(p.gradients[1]), g_MD.size(0), g_MD.size(1), k.stream);
  });
  return g_x;
}

at::Tensor feed_forward(const PassContext& context, const ParameterSpan& p, const at::Tensor& x_MD,
                        Dropout dropout, FeedForwardTape& tape) {
  tape.hidden = context.gemm->forward(x_MD, p.values[0]);  // bias_relu_dropout adds the bias
  context.run(tape.hidden, [&](const auto& k) {
    k->bias_relu_dropout(k.elements(tape.hidden), k.elements(p.values[1]), tape.hidden.size(0),
                         tape.hidden.size(1), dropout, k.stream);
  });
  return linear(context, tape.hidden, p.values[2], p.values[3]);
}

at::Tensor feed_forward_backward(const PassContext& context, const ParameterSpan& p,
                                 const at::Tensor& g_MD, const at::Tensor& x_MD, Dropout dropout,
                                 const FeedForwardTape& tape) {
  const at::Tensor g_hidden = linear_backward(context, g_MD, tape.hidden, p.values[2],
                                              p.gradients[2], p.gradients[3], p.write);
  context.run(tape.hidden, [&](const auto& k) {
    k->relu_dropout_backward(k.elements(tape.hidden), k.elements(g_hidden), g_hidden.numel(),
                             dropout, k.stream);
  });
  return linear_backward(context, g_hidden, x_MD, p.values[0], p.gradients[0], p.gradients[1],
                         p.write);
}

at::Tensor residual_forward(const PassContext& context, const ParameterSpan& norm,
                            const at::Tensor& x_MD, Dropout dropout, ResidualTape& tape,
                            const Body& body) {
  if (context.pre_norm) {
    const at::Tensor h = layer_norm_forward(context, norm, x_MD, tape.norm);
    if (context.keep_cheap) tape.body_input = h;
    const at::Tensor s = body(h);
    at::Tensor y = at::empty_like(x_MD);
    context.run(x_MD, [&](const auto& k) {
      k->add_dropout(k.elements(x_MD), k.elements(s), k.elements(y), y.numel(), dropout, k.stream);
    });
    return y;
  }
  tape.body_input = x_MD;
  const at::Tensor s = body(x_MD);
  context.run(x_MD, [&](const auto& k) {
    k->add_dropout(k.elements(x_MD), k.elements(s), k.elements(s), s.numel(), dropout, k.stream);
  });
  return layer_norm_forward(context, norm, s, tape.norm);
}

at::Tensor residual_backward(const PassContext& context, const ParameterSpan& norm,
                             const at::Tensor& g_MD, Dropout dropout, const ResidualTape& tape,
                             const BodyBackward& body_backward) {
  const at::Tensor g_sum =
      context.pre_norm ? g_MD : layer_norm_backward(context, norm, g_MD, tape.norm);
  at::Tensor g_x;
  {
    at::Tensor g_s = at::empty_like(g_sum);
    context.run(g_sum, [&](const auto& k) {
      k->dropout_backward(k.elements(g_sum), k.elements(g_s), g_s.numel(), dropout, k.stream);
    });
    g_x =
        body_backward(g_s, tape.body_input.defined() ? tape.body_input
                                                     : layer_norm_again(context, norm, tape.norm));
  }
  if (context.pre_norm) g_x = layer_norm_backward(context, norm, g_x, tape.norm);
  context.run(g_x, [&](const auto& k) {
    k->add_to(k.elements(g_x), k.elements(g_sum), g_x.numel(), k.stream);
  });
  return g_x;
}

}  // namespace th::model
