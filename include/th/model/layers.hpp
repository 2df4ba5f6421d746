#pragma once

#include <functional>
#include <span>

#include "th/model/gemm.hpp"
#include "th/model/kernels.hpp"

// Blocks with explicit forward and backward passes. B batch, T queries, S keys, D width, H heads, K head width, F feed-forward, M = B*T rows.
// Why not autograd: the backward pass is then the same sequence of operations for every stage, rank count and recompute kind, every saved
// byte has a name, and gradients are added where the engine wants them (docs/architecture.md).
namespace th::model {

/// What every block of one pass over one micro-batch shares.
struct PassContext {
  const Gemm* gemm = nullptr;
  std::int64_t heads = 1;
  bool pre_norm = true;
  float dropout = 0;           ///< 0 outside training
  std::uint64_t dropout_key = 0;  ///< hash of (seed, step, slot)
  /// The dropout site `site` of block `block`.
  [[nodiscard]] Dropout site(std::uint64_t block, std::uint64_t site_number) const;
};

/// Parameters [first, first + count) of a unit: values, and gradients in the backward pass.
struct ParameterSpan {
  std::span<const at::Tensor> values;
  std::span<at::Tensor> gradients;
  [[nodiscard]] ParameterSpan part(std::size_t first, std::size_t count) const;
};

struct LayerNormTape {
  at::Tensor x, mean, rstd;
};
[[nodiscard]] at::Tensor layer_norm_forward(const ParameterSpan& p, const at::Tensor& x_MD, LayerNormTape& tape);
[[nodiscard]] at::Tensor layer_norm_backward(const ParameterSpan& p, const at::Tensor& g_MD, const LayerNormTape& tape);

/// Scaled dot-product attention of several heads (Vaswani et al. 2017, 3.2), parameters as torch.nn.MultiheadAttention:
/// in_proj_weight [3D,D], in_proj_bias [3D], out_proj.weight [D,D], out_proj.bias [D].
struct AttentionTape {
  at::Tensor queries_in, keys_in;      ///< [B*T, D], [B*S, D]; keys_in undefined for self attention
  at::Tensor q, k, v;                  ///< [B*H, T|S, K]; q is scaled by 1/sqrt(K)
  at::Tensor probabilities;            ///< [B*H, T, S], before dropout
  at::Tensor merged;                   ///< [B*T, D], the input of out_proj
};
struct AttentionShape {
  std::int64_t batch = 0, queries = 0, keys = 0;
};
/// `memory_MD` undefined: self attention. Result [B*T, D].
[[nodiscard]] at::Tensor attention_forward(const PassContext& context, const ParameterSpan& p, const at::Tensor& x_MD, const at::Tensor& memory_MD,
                                           AttentionShape shape, AttentionMask mask, Dropout dropout, AttentionTape& tape);
/// Gradient with respect to x; for cross attention the memory's gradient is added to `g_memory`.
[[nodiscard]] at::Tensor attention_backward(const PassContext& context, const ParameterSpan& p, const at::Tensor& g_MD, AttentionShape shape,
                                            Dropout dropout, const AttentionTape& tape, at::Tensor* g_memory);

/// linear2(dropout(relu(linear1(x)))), parameters linear1.weight [F,D], linear1.bias, linear2.weight [D,F], linear2.bias.
struct FeedForwardTape {
  at::Tensor x, hidden;  ///< [M,D]; [M,F] after ReLU and dropout
};
[[nodiscard]] at::Tensor feed_forward(const PassContext& context, const ParameterSpan& p, const at::Tensor& x_MD, Dropout dropout, FeedForwardTape& tape);
[[nodiscard]] at::Tensor feed_forward_backward(const PassContext& context, const ParameterSpan& p, const at::Tensor& g_MD, Dropout dropout,
                                               const FeedForwardTape& tape);

/// x + dropout(body(norm(x))) for pre norm, norm(x + dropout(body(x))) for post norm.
using Body = std::function<at::Tensor(const at::Tensor&)>;
[[nodiscard]] at::Tensor residual_forward(const PassContext& context, const ParameterSpan& norm, const at::Tensor& x_MD, Dropout dropout,
                                          LayerNormTape& tape, const Body& body);
[[nodiscard]] at::Tensor residual_backward(const PassContext& context, const ParameterSpan& norm, const at::Tensor& g_MD, Dropout dropout,
                                           const LayerNormTape& tape, const Body& body_backward);

}  // namespace th::model
