#pragma once

#include <cstdint>

#include "th/base/dropout.hpp"

// Elementwise and row kernels on contiguous buffers, without tensors, for elements T: float, Bf16,
// Fp16 (th/base/half_float.hpp). Arithmetic and sums are fp32 (where a parameter is a float*
// whatever T is, the result stays fp32). Each result depends on its inputs and its indexes alone
// (one rounding an operation, fixed order), so that the bits are the same on every rank. M rows, D
// columns.
namespace th::model {

using th::Dropout;

/// y[i] = x[i] + dropout(s[i]); y may be x.
template <typename T>
void add_dropout(const T* x, const T* s, T* y, std::int64_t n, Dropout dropout);
/// g_s[i] = dropout'(g[i]).
template <typename T>
void dropout_backward(const T* g, T* g_s, std::int64_t n, Dropout dropout);
/// In place h = dropout(max(h + bias, 0)) over [M, F] and, backward, g = g * d/dh, judged by the
/// forward result's sign bit pattern.
template <typename T>
void bias_relu_dropout(T* h, const T* bias, std::int64_t rows, std::int64_t columns,
                       Dropout dropout);
/// In place: g = g / (1-rate) where h > 0 (kept and positive), else 0. `h` is bias_relu_dropout's
/// result.
template <typename T>
void relu_dropout_backward(const T* h, T* g, std::int64_t n, Dropout dropout);
/// out[d] += sum over rows of x[m, d], rows in order.
template <typename T>
void add_column_sums(const T* x, float* out, std::int64_t rows, std::int64_t columns);
/// y[i] += x[i].
template <typename T>
void add_to(T* y, const T* x, std::int64_t n);
/// y[i] += x[i], summed in fp32.
template <typename T>
void accumulate(float* y, const T* x, std::int64_t n);
/// y[i] = x[i], to fp32.
template <typename T>
void widen(const T* x, float* y, std::int64_t n);
/// y[i] = x[i], rounded to T.
template <typename T>
void narrow(const float* x, T* y, std::int64_t n);

/// Layer normalisation (Ba, Kiros, Hinton 2016), eps 1e-5: y = (x - mean) / sqrt(var + eps) * gamma
/// + beta. mean and rstd [M] are for backward.
template <typename T>
void layer_norm(const T* x, const T* gamma, const T* beta, T* y, float* mean, float* rstd,
                std::int64_t rows, std::int64_t columns);
/// g_x [M, D] is written, g_gamma and g_beta [D] are added to.
template <typename T>
void layer_norm_backward(const T* g, const T* x, const T* gamma, const float* mean,
                         const float* rstd, T* g_x, float* g_gamma, float* g_beta,
                         std::int64_t rows, std::int64_t columns);

/// In place softmax over the S keys of scores [B*H, T, S]; keys at or beyond key_lengths[b] and,
/// with `causal`, beyond the query get 0.
struct AttentionMask {
  const std::int32_t* key_lengths = nullptr;  ///< B entries; null: all keys are real
  bool causal = false;
};
template <typename T>
void masked_softmax(T* scores, std::int64_t batch, std::int64_t heads, std::int64_t queries,
                    std::int64_t keys, AttentionMask mask);
/// out = dropout(p).
template <typename T>
void apply_dropout(const T* p, T* out, std::int64_t n, Dropout dropout);
/// In place over g [rows, S]: g = p * (d - sum_s p d), d = dropout'(g).
template <typename T>
void softmax_dropout_backward(const T* p, T* g, std::int64_t rows, std::int64_t keys,
                              Dropout dropout);

/// H*K columns of packed rows [M, stride], sentence b in the rows [offsets[b], offsets[b+1]) of x,
/// to [B, H, L, K], times `scale`; zeros beyond a sentence's end. No sentence is longer than L =
/// `length`.
template <typename T>
void split_heads(const T* x, const std::int64_t* offsets, T* out, std::int64_t batch,
                 std::int64_t length, std::int64_t heads, std::int64_t width, std::int64_t stride,
                 float scale);
/// The inverse of split_heads, written into the columns of x; what lies beyond a sentence's end is
/// left out.
template <typename T>
void merge_heads(const T* h, const std::int64_t* offsets, T* x, std::int64_t batch,
                 std::int64_t length, std::int64_t heads, std::int64_t width, std::int64_t stride,
                 float scale);

/// y[m, :] = dropout(weight[ids[m], :] * scale + position[places[m], :]).
template <typename T>
void embed(const T* weight, const std::int64_t* ids, const float* position,
           const std::int32_t* places, T* y, std::int64_t rows, std::int64_t width, float scale,
           Dropout dropout);
/// g_weight[ids[m], :] += dropout'(g[m, :]) * scale, rows in order, padding ids left out.
template <typename T>
void embed_backward(const T* g, const std::int64_t* ids, float* g_weight, std::int64_t rows,
                    std::int64_t width, float scale, Dropout dropout);

/// Softmax cross entropy over logits [M, V] with label smoothing e (Szegedy et al. 2016): the sum
/// over rows with label != pad of
/// -(1-e) log p[label] - e/V sum_v log p[v], in fp64. With `g_scale` != 0 the logits are replaced
/// by their gradient times g_scale. `bias` [V] or null is added to each row first; without g_scale
/// what is left in `logits` is then not defined.
template <typename T>
[[nodiscard]] double cross_entropy(T* logits, const std::int64_t* labels, std::int64_t rows,
                                   std::int64_t vocabulary, float smoothing, float g_scale,
                                   const T* bias = nullptr);

}  // namespace th::model
