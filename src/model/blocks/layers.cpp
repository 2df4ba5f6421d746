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
  context.run(g, [&]<typename T>(const Kernels<T>& k) {
    k(op::AddColumnSums<T>{
        .x = k.elements(g), .out = fp32(g_bias), .rows = g.size(0), .columns = g.size(1)});
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
  if (memory == ComputeDevice::Memory::kHost) return host_ops<float>().has<op::Attention<float>>();
  const bool there =
      !gemm->computes() || kernels->bf16->has<op::Attention<Bf16>>();  // a plan is told
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
  context.run(tape.x, [&]<typename T>(const Kernels<T>& k) {
    k(op::LayerNorm<T>{.x = k.elements(tape.x),
                       .gamma = k.elements(p.values[0]),
                       .beta = k.elements(p.values[1]),
                       .y = k.elements(y),
                       .mean = fp32(tape.mean),
                       .rstd = fp32(tape.rstd),
                       .rows = y.size(0),
                       .columns = y.size(1)});
  });
  return y;
}

at::Tensor layer_norm_backward(const PassContext& context, const ParameterSpan& p,
                               const at::Tensor& g_MD, const LayerNormTape& tape) {
  at::Tensor g_x = at::empty_like(g_MD);
  context.run(g_MD, [&]<typename T>(const Kernels<T>& k) {
    k(op::LayerNormBackward<T>{.g = k.elements(g_MD),
                               .x = k.elements(tape.x),
                               .gamma = k.elements(p.values[0]),
                               .mean = fp32(tape.mean),
                               .rstd = fp32(tape.rstd),
                               .g_x = k.elements(g_x),
                               .g_gamma = fp32(p.gradients[0]),
                               .g_beta = fp32(p.gradients[1]),
                               .rows = g_MD.size(0),
                               .columns = g_MD.size(1)});
  });
  return g_x;
}

at::Tensor feed_forward(const PassContext& context, const ParameterSpan& p, const at::Tensor& x_MD,
                        Dropout dropout, FeedForwardTape& tape) {
  tape.hidden = context.gemm->forward(x_MD, p.values[0]);  // bias_relu_dropout adds the bias
  context.run(tape.hidden, [&]<typename T>(const Kernels<T>& k) {
    k(op::BiasReluDropout<T>{.h = k.elements(tape.hidden),
                             .bias = k.elements(p.values[1]),
                             .rows = tape.hidden.size(0),
                             .columns = tape.hidden.size(1),
                             .dropout = dropout});
  });
  return linear(context, tape.hidden, p.values[2], p.values[3]);
}

at::Tensor feed_forward_backward(const PassContext& context, const ParameterSpan& p,
                                 const at::Tensor& g_MD, const at::Tensor& x_MD, Dropout dropout,
                                 const FeedForwardTape& tape) {
  const at::Tensor g_hidden = linear_backward(context, g_MD, tape.hidden, p.values[2],
                                              p.gradients[2], p.gradients[3], p.write);
  context.run(tape.hidden, [&]<typename T>(const Kernels<T>& k) {
    k(op::ReluDropoutBackward<T>{.h = k.elements(tape.hidden),
                                 .g = k.elements(g_hidden),
                                 .count = g_hidden.numel(),
                                 .dropout = dropout});
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
    context.run(x_MD, [&]<typename T>(const Kernels<T>& k) {
      k(op::AddDropout<T>{.x = k.elements(x_MD),
                          .s = k.elements(s),
                          .y = k.elements(y),
                          .count = y.numel(),
                          .dropout = dropout});
    });
    return y;
  }
  tape.body_input = x_MD;
  const at::Tensor s = body(x_MD);
  context.run(x_MD, [&]<typename T>(const Kernels<T>& k) {
    k(op::AddDropout<T>{.x = k.elements(x_MD),
                        .s = k.elements(s),
                        .y = k.elements(s),
                        .count = s.numel(),
                        .dropout = dropout});
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
    context.run(g_sum, [&]<typename T>(const Kernels<T>& k) {
      k(op::ApplyDropout<T>{.x = k.elements(g_sum),
                            .out = k.elements(g_s),
                            .count = g_s.numel(),
                            .dropout = dropout});
    });
    g_x =
        body_backward(g_s, tape.body_input.defined() ? tape.body_input
                                                     : layer_norm_again(context, norm, tape.norm));
  }
  if (context.pre_norm) g_x = layer_norm_backward(context, norm, g_x, tape.norm);
  context.run(g_x, [&]<typename T>(const Kernels<T>& k) {
    k(op::AddTo<T>{.y = k.elements(g_x), .x = k.elements(g_sum), .count = g_x.numel()});
  });
  return g_x;
}

}  // namespace th::model
