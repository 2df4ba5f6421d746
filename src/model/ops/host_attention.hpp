#pragma once

#include <cstdint>

#include "th/runtime/device/model_kernels.hpp"

namespace th::model {

/// The tiles of the products, which change no bit.
enum class Tiles { kAvx2, kAvx512 };
/// The widest that the processor has.
[[nodiscard]] Tiles widest_tiles();

struct HeadRange {
  std::int64_t begin, end;
  float* scratch;
  Tiles tiles = widest_tiles();
};

/// Attention over packed rows on the host, without the scores of more than a few queries at a time:
/// a sentence and head are taken together, so no sentence pays for another's length, and what they
/// take stays in the processor's caches (Dao et al. 2022; a row's softmax is taken whole here, as
/// rows are short). Any length and width. fp32 sums in the order of keys (or queries), fused
/// multiply-adds, so the same bits on AVX2 and AVX-512 and for any number of threads. Computes the
/// pairs of sentence and head [begin, end), of B*H, with host_attention_scratch() floats of room.
/// out [query rows, H*K].
template <typename T>
void host_attention(const runtime::AttentionOperands<T>& operands, T* out, HeadRange heads);
/// Gradients of q, k and v, with the operands' strides, from that of `out`. Probabilities are
/// computed again.
template <typename T>
void host_attention_backward(const runtime::AttentionOperands<T>& operands, const T* g, T* g_q,
                             T* g_k, T* g_v, HeadRange heads);

/// Whether this processor has the instructions: AVX2 and fused multiply-adds.
[[nodiscard]] bool host_fuses_attention();

}  // namespace th::model
