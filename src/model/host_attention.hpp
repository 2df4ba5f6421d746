#pragma once

#include <cstdint>

#include "th/runtime/model_kernels.hpp"

namespace th::model {

/// Attention over packed rows on the host, without the scores of more than a few queries at a time: a sentence and head are taken together, so no sentence pays
/// for another's length, and what they take stays in the processor's caches (Dao et al. 2022; a row's softmax is taken whole here, as rows are short). Any
/// length and width. fp32 sums in the order of keys (or queries), fused multiply-adds, so the same bits on AVX2 and AVX-512 and for any number of threads.
/// `operands.scratch` has host_attention_scratch() floats. out [query rows, H*K].
template <typename T>
void host_attention(const runtime::AttentionOperands<T>& operands, T* out, void* stream);
/// Gradients of q, k and v, with the operands' strides, from that of `out`. Probabilities are computed again.
template <typename T>
void host_attention_backward(const runtime::AttentionOperands<T>& operands, const T* g, T* g_q, T* g_k, T* g_v, void* stream);

/// The tiles of the products, which change no bit; without a choice the widest that the processor has.
enum class Tiles { kAvx2, kAvx512 };
[[nodiscard]] Tiles widest_tiles();
template <typename T>
void host_attention(const runtime::AttentionOperands<T>& operands, T* out, Tiles tiles);
template <typename T>
void host_attention_backward(const runtime::AttentionOperands<T>& operands, const T* g, T* g_q, T* g_k, T* g_v, Tiles tiles);

/// Whether this processor has the instructions: AVX2 and fused multiply-adds.
[[nodiscard]] bool host_fuses_attention();

}  // namespace th::model
