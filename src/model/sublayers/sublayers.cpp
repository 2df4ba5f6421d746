#include "model/sublayers/sublayers.hpp"

#include "th/base/hash.hpp"
#include "th/model/memory/tensors.hpp"

namespace th::model {

namespace {

at::Tensor empty_fp32(const at::Tensor& like, std::int64_t n) {
  return model::empty({n}, like.options().dtype(at::kFloat));
}

}  // namespace

bool PassContext::fuses(at::ScalarType type, std::int64_t queries, std::int64_t keys,
                        std::int64_t head_width) const {
  if (!fused_attention) return false;
  if (memory == runtime::DeviceMemory::kHost)
    return host_kernels().fp32->has<op::Attention<float>>();
  // A plan is told whether the device has it.
  const bool there = !gemm->computes() || kernels->bf16->has<op::Attention<Bf16>>();
  return there && type != at::kFloat && runtime::fuses_attention(queries, keys, head_width);
}

Dropout PassContext::site(std::uint64_t block, std::uint64_t site_number) const {
  return {hash_pair(hash_pair(dropout_key, block), site_number), dropout};
}

Dropout PassContext::attention_site(std::uint64_t block, std::uint64_t site_number) const {
  return {site(block, site_number).key, attention_dropout};
}

Dropout PassContext::activation_site(std::uint64_t block, std::uint64_t site_number) const {
  return {site(block, site_number).key, activation_dropout};
}

ParameterSpan ParameterSpan::part(ParameterRange range) const {
  return {values.subspan(range.first, range.count),
          gradients.empty() ? gradients : gradients.subspan(range.first, range.count), write};
}

Linear Linear::of(const ParameterSpan& p, std::size_t first) {
  Linear out{.weight = p.values[first], .bias = p.values[first + 1], .write = p.write};
  if (p.gradients.empty()) return out;
  out.g_weight = p.gradients[first];
  out.g_bias = p.gradients[first + 1];
  return out;
}

Linear Linear::outputs(std::int64_t first, std::int64_t count) const {
  Linear out{weight.narrow(0, first, count), bias.narrow(0, first, count), {}, {}, write};
  if (!g_weight.defined()) return out;
  out.g_weight = g_weight.narrow(0, first, count);
  out.g_bias = g_bias.narrow(0, first, count);
  return out;
}

void apply_dropout(const PassContext& context, const at::Tensor& x, const at::Tensor& out,
                   Dropout dropout) {
  context.run(x, [&]<typename T>(const Kernels<T>& k) {
    k(op::ApplyDropout<T>{
        .x = k.elements(x), .out = k.elements(out), .count = x.numel(), .dropout = dropout});
  });
}

at::Tensor Linear::forward(const PassContext& context, const at::Tensor& x_MK) const {
  return context.gemm->forward(x_MK, weight, bias);
}

at::Tensor Linear::backward(const PassContext& context, const at::Tensor& g_MN,
                            const at::Tensor& x_MK) const {
  at::Tensor weight_gradient = g_weight;
  context.gemm->weight_gradient(g_MN, x_MK, weight_gradient, write);
  context.run(g_MN, [&]<typename T>(const Kernels<T>& k) {
    k(op::AddColumnSums<T>{
        .x = k.elements(g_MN), .out = fp32(g_bias), .rows = g_MN.size(0), .columns = g_MN.size(1)});
  });
  return context.gemm->input_gradient(g_MN, weight);
}

at::Tensor Norm::forward(const PassContext& context, const ParameterSpan& unit,
                         const at::Tensor& x_MD, NormTape& tape) const {
  tape = {x_MD, {}, empty_fp32(x_MD, x_MD.size(0))};
  if (context.norm_kind == config::NormKind::kLayer) tape.mean = empty_fp32(x_MD, x_MD.size(0));
  return again(context, unit, tape);
}

at::Tensor Norm::again(const PassContext& context, const ParameterSpan& unit,
                       const NormTape& tape) const {
  const ParameterSpan p = unit.part(range_);
  at::Tensor y = model::empty_like(tape.x);
  context.run(tape.x, [&]<typename T>(const Kernels<T>& k) {
    if (context.norm_kind == config::NormKind::kRms) {
      k(op::RmsNorm<T>{.x = k.elements(tape.x),
                       .gamma = k.elements(p.values[0]),
                       .y = k.elements(y),
                       .rstd = fp32(tape.rstd),
                       .rows = y.size(0),
                       .columns = y.size(1),
                       .stride = y.size(1),
                       .eps = context.norm_eps});
      return;
    }
    k(op::LayerNorm<T>{.x = k.elements(tape.x),
                       .gamma = k.elements(p.values[0]),
                       .beta = k.elements(p.values[1]),
                       .y = k.elements(y),
                       .mean = fp32(tape.mean),
                       .rstd = fp32(tape.rstd),
                       .rows = y.size(0),
                       .columns = y.size(1),
                       .eps = context.norm_eps});
  });
  return y;
}

at::Tensor Norm::backward(const PassContext& context, const ParameterSpan& unit,
                          const at::Tensor& g_MD, const NormTape& tape) const {
  const ParameterSpan p = unit.part(range_);
  at::Tensor g_x = model::empty_like(g_MD);
  context.run(g_MD, [&]<typename T>(const Kernels<T>& k) {
    if (context.norm_kind == config::NormKind::kRms) {
      k(op::RmsNormBackward<T>{.g = k.elements(g_MD),
                               .x = k.elements(tape.x),
                               .gamma = k.elements(p.values[0]),
                               .rstd = fp32(tape.rstd),
                               .g_x = k.elements(g_x),
                               .g_gamma = fp32(p.gradients[0]),
                               .rows = g_MD.size(0),
                               .columns = g_MD.size(1),
                               .stride = g_MD.size(1)});
      return;
    }
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

namespace {

runtime::ActivationKind kind_of(config::Activation activation) {
  return activation == config::Activation::kGelu ? runtime::ActivationKind::kGelu
                                                 : runtime::ActivationKind::kSwish;
}

}  // namespace

at::Tensor FeedForward::forward(const PassContext& context, const ParameterSpan& unit,
                                const at::Tensor& x_MD, Dropout dropout,
                                FeedForwardTape& tape) const {
  const ParameterSpan p = unit.part(range_);
  if (context.activation == config::Activation::kRelu) {
    tape.hidden = context.gemm->forward(x_MD, p.values[0]);  // BiasReluDropout adds the bias
    context.run(tape.hidden, [&]<typename T>(const Kernels<T>& k) {
      k(op::BiasReluDropout<T>{.h = k.elements(tape.hidden),
                               .bias = k.elements(p.values[1]),
                               .rows = tape.hidden.size(0),
                               .columns = tape.hidden.size(1),
                               .dropout = dropout});
    });
    return Linear::of(p, 2).forward(context, tape.hidden);
  }
  tape.before = Linear::of(p, 0).forward(context, x_MD);
  if (gated()) tape.up = Linear::of(p, 4).forward(context, x_MD);
  const at::Tensor hidden = activated(context, tape, dropout);
  if (context.keep_cheap) tape.hidden = hidden;
  return Linear::of(p, 2).forward(context, hidden);
}

at::Tensor FeedForward::activated(const PassContext& context, const FeedForwardTape& tape,
                                  Dropout dropout) const {
  at::Tensor hidden = model::empty_like(tape.before);
  context.run(hidden, [&]<typename T>(const Kernels<T>& k) {
    k(op::Activate<T>{.z = k.elements(tape.before),
                      .up = gated() ? k.elements(tape.up) : nullptr,
                      .y = k.elements(hidden),
                      .count = hidden.numel(),
                      .kind = kind_of(context.activation),
                      .dropout = dropout});
  });
  return hidden;
}

at::Tensor FeedForward::backward(const PassContext& context, const ParameterSpan& unit,
                                 const at::Tensor& g_MD, const at::Tensor& x_MD, Dropout dropout,
                                 const FeedForwardTape& tape) const {
  const ParameterSpan p = unit.part(range_);
  const at::Tensor g_hidden = Linear::of(p, 2).backward(
      context, g_MD, tape.hidden.defined() ? tape.hidden : activated(context, tape, dropout));
  if (context.activation == config::Activation::kRelu) {
    context.run(tape.hidden, [&]<typename T>(const Kernels<T>& k) {
      k(op::ReluDropoutBackward<T>{.h = k.elements(tape.hidden),
                                   .g = k.elements(g_hidden),
                                   .count = g_hidden.numel(),
                                   .dropout = dropout});
    });
    return Linear::of(p, 0).backward(context, g_hidden, x_MD);
  }
  const at::Tensor g_up = gated() ? model::empty_like(g_hidden) : at::Tensor();
  context.run(g_hidden, [&]<typename T>(const Kernels<T>& k) {
    k(op::ActivateBackward<T>{.z = k.elements(tape.before),
                              .up = gated() ? k.elements(tape.up) : nullptr,
                              .g = k.elements(g_hidden),
                              .g_up = gated() ? k.elements(g_up) : nullptr,
                              .count = g_hidden.numel(),
                              .kind = kind_of(context.activation),
                              .dropout = dropout});
  });
  at::Tensor g_x = Linear::of(p, 0).backward(context, g_hidden, x_MD);
  if (!gated()) return g_x;
  const at::Tensor of_up = Linear::of(p, 4).backward(context, g_up, x_MD);
  context.run(g_x, [&]<typename T>(const Kernels<T>& k) {
    k(op::AddTo<T>{.y = k.elements(g_x), .x = k.elements(of_up), .count = g_x.numel()});
  });
  return g_x;
}

namespace {

/// y = x + dropout(s); y may be s.
void add_dropout(const PassContext& context, const at::Tensor& x, const at::Tensor& s,
                 const at::Tensor& y, Dropout dropout) {
  context.run(x, [&]<typename T>(const Kernels<T>& k) {
    k(op::AddDropout<T>{.x = k.elements(x),
                        .s = k.elements(s),
                        .y = k.elements(y),
                        .count = y.numel(),
                        .dropout = dropout});
  });
}

}  // namespace

at::Tensor Residual::forward(const PassContext& context, const ParameterSpan& unit,
                             const at::Tensor& x_MD, Dropout dropout, ResidualTape& tape,
                             const Body& body) const {
  if (context.pre_norm) {
    const at::Tensor h = norm_.forward(context, unit, x_MD, tape.norm);
    if (context.keep_cheap) tape.body_input = h;
    const at::Tensor s = body(h);
    at::Tensor y = model::empty_like(x_MD);
    add_dropout(context, x_MD, s, y, dropout);
    return y;
  }
  tape.body_input = x_MD;
  const at::Tensor s = body(x_MD);
  add_dropout(context, x_MD, s, s, dropout);
  return norm_.forward(context, unit, s, tape.norm);
}

at::Tensor Residual::backward(const PassContext& context, const ParameterSpan& unit,
                              const at::Tensor& g_MD, Dropout dropout, const ResidualTape& tape,
                              const BodyBackward& body_backward) const {
  const at::Tensor g_sum = context.pre_norm ? g_MD : norm_.backward(context, unit, g_MD, tape.norm);
  at::Tensor g_x;
  {
    at::Tensor g_s = model::empty_like(g_sum);
    apply_dropout(context, g_sum, g_s, dropout);
    g_x = body_backward(
        g_s, tape.body_input.defined() ? tape.body_input : norm_.again(context, unit, tape.norm));
  }
  if (context.pre_norm) g_x = norm_.backward(context, unit, g_x, tape.norm);
  context.run(g_x, [&]<typename T>(const Kernels<T>& k) {
    k(op::AddTo<T>{.y = k.elements(g_x), .x = k.elements(g_sum), .count = g_x.numel()});
  });
  return g_x;
}

}  // namespace th::model
