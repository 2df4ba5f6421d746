#pragma once

#include <functional>

#include "model/sublayers/pass_context.hpp"

// The sublayers of a layer with explicit forward and backward passes over packed rows: sentences
// follow each other without padding. A sublayer knows its tensors among those of its unit. D width,
// F feed-forward, K inputs and N outputs of a linear layer, M rows.
//
// Passes are explicit, not autograd's, because the backward pass is then the same sequence of
// operations for every stage, rank count and kind of recomputation, every saved byte has a name,
// and gradients are added where the engine wants them (docs/notes/first_design.md).
namespace th::model {

/// out = dropout(x), of rows or of their gradients; out may be x.
void apply_dropout(const PassContext& context, const at::Tensor& x, const at::Tensor& out,
                   Dropout dropout);

/// x W^T + bias: weight [N,K], bias [N], and their fp32 gradients in the backward pass.
struct Linear {
  at::Tensor weight{}, bias{}, g_weight{}, g_bias{};
  Write write = Write::kAdd;

  /// Weight and bias are the tensors `first` and `first` + 1 of `p`.
  [[nodiscard]] static Linear of(const ParameterSpan& p, std::size_t first);
  /// The part that computes the outputs [first, first + count).
  [[nodiscard]] Linear outputs(std::int64_t first, std::int64_t count) const;
  /// [M,K] -> [M,N].
  [[nodiscard]] at::Tensor forward(const PassContext& context, const at::Tensor& x_MK) const;
  /// Adds the gradients of weight and bias and returns the input's.
  [[nodiscard]] at::Tensor backward(const PassContext& context, const at::Tensor& g_MN,
                                    const at::Tensor& x_MK) const;
};

struct NormTape {
  at::Tensor x, mean, rstd;  ///< [M,D], [M] of LayerNorm alone, [M]
};

/// Normalisation of rows by the context's kind: op::LayerNorm with weight [D] and bias [D], or
/// op::RmsNorm with weight [D].
class Norm {
 public:
  explicit Norm(ParameterRange range = {0, 2}) : range_(range) {}
  [[nodiscard]] at::Tensor forward(const PassContext& context, const ParameterSpan& unit,
                                   const at::Tensor& x_MD, NormTape& tape) const;
  [[nodiscard]] at::Tensor backward(const PassContext& context, const ParameterSpan& unit,
                                    const at::Tensor& g_MD, const NormTape& tape) const;
  /// The forward result once more, from the tape.
  [[nodiscard]] at::Tensor again(const PassContext& context, const ParameterSpan& unit,
                                 const NormTape& tape) const;
  /// Whether there is a norm at all.
  [[nodiscard]] bool exists() const noexcept { return range_.count > 0; }

 private:
  ParameterRange range_;
};

struct FeedForwardTape {
  /// [M,F] after activation and dropout; where `before` is there, not kept by selective
  /// checkpointing.
  at::Tensor hidden;
  at::Tensor before;  ///< [M,F] before the activation; undefined for ReLU
  at::Tensor up;      ///< [M,F], what the activation is multiplied by; of gated ones alone
};

/// linear2(dropout(f(linear1(x)))) with the context's f: linear1.weight [F,D], linear1.bias,
/// linear2.weight [D,F], linear2.bias (Vaswani et al. 2017, 3.3). Gated (Shazeer 2020, SwiGLU):
/// linear2(dropout(f(linear1(x)) * linear3(x))) with linear3.weight [F,D], linear3.bias.
class FeedForward {
 public:
  explicit FeedForward(ParameterRange range = {0, 4}) : range_(range) {}
  [[nodiscard]] at::Tensor forward(const PassContext& context, const ParameterSpan& unit,
                                   const at::Tensor& x_MD, Dropout dropout,
                                   FeedForwardTape& tape) const;
  [[nodiscard]] at::Tensor backward(const PassContext& context, const ParameterSpan& unit,
                                    const at::Tensor& g_MD, const at::Tensor& x_MD, Dropout dropout,
                                    const FeedForwardTape& tape) const;

 private:
  [[nodiscard]] bool gated() const noexcept { return range_.count > 4; }
  /// dropout(f(before)), times `up` where gated.
  [[nodiscard]] at::Tensor activated(const PassContext& context, const FeedForwardTape& tape,
                                     Dropout dropout) const;

  ParameterRange range_;
};

struct ResidualTape {
  NormTape norm;
  /// [M,D]; not kept where it is norm(x) and checkpointing is selective.
  at::Tensor body_input;
};

/// x + dropout(body(norm(x))) for pre norm, norm(x + dropout(body(x))) for post norm.
class Residual {
 public:
  using Body = std::function<at::Tensor(const at::Tensor& x_MD)>;
  using BodyBackward = std::function<at::Tensor(const at::Tensor& g_MD, const at::Tensor& x_MD)>;

  explicit Residual(ParameterRange norm = {0, 2}) : norm_(norm) {}
  [[nodiscard]] at::Tensor forward(const PassContext& context, const ParameterSpan& unit,
                                   const at::Tensor& x_MD, Dropout dropout, ResidualTape& tape,
                                   const Body& body) const;
  [[nodiscard]] at::Tensor backward(const PassContext& context, const ParameterSpan& unit,
                                    const at::Tensor& g_MD, Dropout dropout,
                                    const ResidualTape& tape,
                                    const BodyBackward& body_backward) const;

 private:
  Norm norm_;
};

}  // namespace th::model
