#pragma once

#include <functional>
#include <span>

#include "th/model/memory/compute_device.hpp"
#include "th/model/memory/packed_rows.hpp"
#include "th/model/ops/element.hpp"
#include "th/model/ops/host_ops.hpp"
#include "th/model/ops/kernel_set.hpp"
#include "th/model/products/gemm.hpp"

// Blocks with explicit forward and backward passes over packed rows: sentences follow each other
// without padding. B sentences, T queries, S keys, D width, H heads, K head width, F feed-forward,
// M rows. Why not autograd: the backward pass is then the same sequence of operations for every
// stage, rank count and recompute kind, every saved byte has a name, and gradients are added where
// the engine wants them (docs/architecture.md).
namespace th::model {

/// What every block of one pass over one micro-batch shares.
struct PassContext {
  const Gemm* gemm = nullptr;
  std::int64_t heads = 1;
  bool pre_norm = true;
  float dropout = 0;              ///< 0 outside training
  std::uint64_t dropout_key = 0;  ///< hash of (seed, step, slot)
  bool keep_cheap =
      true;  ///< false (selective checkpointing): what is cheap to compute again is not kept
  const KernelSet* kernels = &host_kernels();  ///< of the device that the tensors are on
  ComputeDevice::Memory memory = ComputeDevice::Memory::kHost;
  bool fused_attention = true;  ///< ComputeDevice::fused_attention
  /// Whether attention of up to `queries` by `keys` is one kernel: on the host any, where the
  /// processor has the instructions; on a GPU what runtime::fuses_attention takes.
  [[nodiscard]] bool fuses(at::ScalarType type, std::int64_t queries, std::int64_t keys,
                           std::int64_t head_width) const;
  /// Calls `work` with the kernels of the element type of `like`, or not when the pass is only
  /// planned.
  template <typename Work>
  void run(const at::Tensor& like, Work&& work) const {
    if (gemm->computes()) with_kernels(*kernels, like, static_cast<Work&&>(work));
  }
  /// The dropout site `site` of block `block`.
  [[nodiscard]] Dropout site(std::uint64_t block, std::uint64_t site_number) const;
};

/// Parameters [first, first + count) of a unit: values, and gradients in the backward pass.
struct ParameterSpan {
  std::span<const at::Tensor> values;
  std::span<at::Tensor> gradients;
  Write write = Write::kAdd;  ///< UnitTensors::product_gradients
  [[nodiscard]] ParameterSpan part(std::size_t first, std::size_t count) const;
};

/// x W^T + bias; x [M,K], weight [N,K], bias [N] -> [M,N].
[[nodiscard]] at::Tensor linear(const PassContext& context, const at::Tensor& x_MK,
                                const at::Tensor& weight_NK, const at::Tensor& bias_N);

struct LayerNormTape {
  at::Tensor x, mean, rstd;  ///< [M,D], [M], [M]
};
[[nodiscard]] at::Tensor layer_norm_forward(const PassContext& context, const ParameterSpan& p,
                                            const at::Tensor& x_MD, LayerNormTape& tape);
[[nodiscard]] at::Tensor layer_norm_backward(const PassContext& context, const ParameterSpan& p,
                                             const at::Tensor& g_MD, const LayerNormTape& tape);
/// The forward result once more, from the tape.
[[nodiscard]] at::Tensor layer_norm_again(const PassContext& context, const ParameterSpan& p,
                                          const LayerNormTape& tape);

/// Scaled dot-product attention of several heads (Vaswani et al. 2017, 3.2), parameters as
/// torch.nn.MultiheadAttention: in_proj_weight [3D,D], in_proj_bias [3D], out_proj.weight [D,D],
/// out_proj.bias [D].
struct AttentionTape {
  at::Tensor q, k, v;  ///< group after group [B*H, T|S, K]; q is scaled by 1/sqrt(K). Fused: packed
                       ///< rows, q k v [M, 3D], or q [M, D] and k v [M, 2D] in k
  at::Tensor probabilities;  ///< group after group [B*H, T, S], before dropout; not kept by
                             ///< selective checkpointing
  at::Tensor merged;         ///< [M, D], the input of out_proj; not kept by selective checkpointing
};
/// One attention's place in the model: the rows of its sentences, mask and dropout.
struct AttentionSite {
  std::span<const AttentionGroup> groups;
  const std::int64_t
      *query_offsets = nullptr,
      *key_offsets = nullptr;  ///< of all sentences, as PackedRows has them, in the kernels' memory
  std::int64_t query_rows = 0, key_rows = 0;  ///< their last entries
  const std::int32_t* key_lengths = nullptr;  ///< of all sentences, in the kernels' memory
  runtime::ScoreRule rule;
  Dropout dropout;
  /// The draws of one group's scores [B*H, T, S].
  [[nodiscard]] Dropout group_dropout(std::size_t group) const;
};
/// `memory_MD` undefined: self attention. Result [M, D].
[[nodiscard]] at::Tensor attention_forward(const PassContext& context, const ParameterSpan& p,
                                           const at::Tensor& x_MD, const at::Tensor& memory_MD,
                                           const AttentionSite& site, AttentionTape& tape);
/// Gradient with respect to x; for cross attention (`memory_MD` defined) the memory's gradient is
/// added to `g_memory`. x and memory as in the forward pass.
[[nodiscard]] at::Tensor attention_backward(const PassContext& context, const ParameterSpan& p,
                                            const at::Tensor& g_MD, const at::Tensor& x_MD,
                                            const at::Tensor& memory_MD, const AttentionSite& site,
                                            const AttentionTape& tape, at::Tensor* g_memory);

/// linear2(dropout(relu(linear1(x)))), parameters linear1.weight [F,D], linear1.bias,
/// linear2.weight [D,F], linear2.bias.
struct FeedForwardTape {
  at::Tensor hidden;  ///< [M,F] after ReLU and dropout
};
[[nodiscard]] at::Tensor feed_forward(const PassContext& context, const ParameterSpan& p,
                                      const at::Tensor& x_MD, Dropout dropout,
                                      FeedForwardTape& tape);
[[nodiscard]] at::Tensor feed_forward_backward(const PassContext& context, const ParameterSpan& p,
                                               const at::Tensor& g_MD, const at::Tensor& x_MD,
                                               Dropout dropout, const FeedForwardTape& tape);

/// x + dropout(body(norm(x))) for pre norm, norm(x + dropout(body(x))) for post norm.
struct ResidualTape {
  LayerNormTape norm;
  at::Tensor body_input;  ///< [M,D]; not kept where it is norm(x) and checkpointing is selective
};
using Body = std::function<at::Tensor(const at::Tensor& x_MD)>;
using BodyBackward = std::function<at::Tensor(const at::Tensor& g_MD, const at::Tensor& x_MD)>;
[[nodiscard]] at::Tensor residual_forward(const PassContext& context, const ParameterSpan& norm,
                                          const at::Tensor& x_MD, Dropout dropout,
                                          ResidualTape& tape, const Body& body);
[[nodiscard]] at::Tensor residual_backward(const PassContext& context, const ParameterSpan& norm,
                                           const at::Tensor& g_MD, Dropout dropout,
                                           const ResidualTape& tape,
                                           const BodyBackward& body_backward);

}  // namespace th::model
