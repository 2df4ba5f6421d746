#pragma once

#include <cstdint>

// Elementwise and row kernels on contiguous fp32 buffers, without tensors. Each result depends on its inputs and its indexes alone
// (one rounding an operation, fixed order), so that the bits are the same on every rank. M rows, D columns.
namespace th::model {

/// Counter-based dropout of one site: element i is kept when hash(key, i) falls below the keep share, and scaled by 1/(1-rate).
/// Nothing is stored: the backward pass draws the same numbers again.
struct Dropout {
  std::uint64_t key = 0;
  float rate = 0;  ///< 0: the identity
};

/// y[i] = x[i] + dropout(s[i]); y may be x.
void add_dropout(const float* x, const float* s, float* y, std::int64_t n, Dropout dropout);
/// g_s[i] = dropout'(g[i]).
void dropout_backward(const float* g, float* g_s, std::int64_t n, Dropout dropout);
/// In place h = dropout(max(h + bias, 0)) over [M, F] and, backward, g = g * d/dh, judged by the forward result's sign bit pattern.
void bias_relu_dropout(float* h, const float* bias, std::int64_t rows, std::int64_t columns, Dropout dropout);
/// In place: g = g / (1-rate) where h > 0 (kept and positive), else 0. `h` is bias_relu_dropout's result.
void relu_dropout_backward(const float* h, float* g, std::int64_t n, Dropout dropout);
/// x[m, :] += bias.
void add_bias(float* x, const float* bias, std::int64_t rows, std::int64_t columns);
/// out[d] += sum over rows of x[m, d], rows in order.
void add_column_sums(const float* x, float* out, std::int64_t rows, std::int64_t columns);
/// y[i] += x[i].
void add_to(float* y, const float* x, std::int64_t n);

/// Layer normalisation (Ba, Kiros, Hinton 2016), eps 1e-5: y = (x - mean) / sqrt(var + eps) * gamma + beta. mean and rstd [M] are for backward.
void layer_norm(const float* x, const float* gamma, const float* beta, float* y, float* mean, float* rstd, std::int64_t rows, std::int64_t columns);
/// g_x [M, D] is written, g_gamma and g_beta [D] are added to.
void layer_norm_backward(const float* g, const float* x, const float* gamma, const float* mean, const float* rstd, float* g_x, float* g_gamma,
                         float* g_beta, std::int64_t rows, std::int64_t columns);

/// In place softmax over the S keys of scores [B*H, T, S]; keys at or beyond key_lengths[b] and, with `causal`, beyond the query get 0.
struct AttentionMask {
  const std::int32_t* key_lengths = nullptr;  ///< B entries; null: all keys are real
  bool causal = false;
};
void masked_softmax(float* scores, std::int64_t batch, std::int64_t heads, std::int64_t queries, std::int64_t keys, AttentionMask mask);
/// out = dropout(p).
void apply_dropout(const float* p, float* out, std::int64_t n, Dropout dropout);
/// In place over g [rows, S]: g = p * (d - sum_s p d), d = dropout'(g).
void softmax_dropout_backward(const float* p, float* g, std::int64_t rows, std::int64_t keys, Dropout dropout);

/// [B, T, stride] columns [column, column + H*K) to [B, H, T, K], times `scale`.
void split_heads(const float* x, float* out, std::int64_t batch, std::int64_t length, std::int64_t heads, std::int64_t width, std::int64_t stride,
                 float scale);
/// The inverse of split_heads, written into the columns of x.
void merge_heads(const float* h, float* x, std::int64_t batch, std::int64_t length, std::int64_t heads, std::int64_t width, std::int64_t stride,
                 float scale);

/// y[m, :] = dropout(weight[ids[m], :] * scale + position[m mod T, :]).
void embed(const float* weight, const std::int64_t* ids, const float* position, float* y, std::int64_t rows, std::int64_t length, std::int64_t width,
           float scale, Dropout dropout);
/// g_weight[ids[m], :] += dropout'(g[m, :]) * scale, rows in order, padding ids left out.
void embed_backward(const float* g, const std::int64_t* ids, float* g_weight, std::int64_t rows, std::int64_t width, float scale, Dropout dropout);

/// Softmax cross entropy over logits [M, V] with label smoothing e (Szegedy et al. 2016): the sum over rows with label != pad of
/// -(1-e) log p[label] - e/V sum_v log p[v], in fp64. With `g_scale` != 0 the logits are replaced by their gradient times g_scale.
[[nodiscard]] double cross_entropy(float* logits, const std::int64_t* labels, std::int64_t rows, std::int64_t vocabulary, float smoothing,
                                   float g_scale);

}  // namespace th::model
