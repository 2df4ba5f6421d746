#pragma once

#include <cstdint>

#include "th/base/dropout.hpp"
#include "th/runtime/ops/attention.hpp"

namespace th::runtime {

/// Scaled dot-product attention of packed rows in one kernel: B sentences, H heads of width K, T
/// queries and S keys in the longest. Row r of head h lies at q + r * q_stride + h * K; sentence b
/// has the query rows [query_offsets[b], query_offsets[b+1]) and the key rows of key_offsets. Query
/// t sees the keys of its sentence and, where it is causal, those up to t. The draw of a
/// probability is that of its place in [B, H, T, S].
template <typename T>
struct AttentionOperands {
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  std::int64_t q_stride = 0, kv_stride = 0;
  const std::int64_t *query_offsets = nullptr, *key_offsets = nullptr;  ///< [B+1] each
  std::int64_t batch = 0, heads = 0, queries = 0, keys = 0, width = 0;
  bool causal = false;
  float scale = 1;  ///< of the queries
  Dropout dropout;
  float* scratch = nullptr;  ///< on the host: host_attention_scratch() for each thread
};

/// The model's kernels (th/model/ops/kernels.hpp has the formulas, under the same names) on memory
/// of one device for elements T: float, Bf16, Fp16. Every pointer is memory of that device; the
/// work is enqueued on `stream` (a cudaStream_t) and nothing waits for it. The same bits as the
/// CPU's kernels except where a GPU adds in another order, which is always the same: sums over rows
/// (add_column_sums, layer_norm_backward's g_gamma and g_beta), over rows of whole packs
/// (layer_norm) and a vocabulary (cross_entropy), and fused attention. They throw DeviceError when
/// a launch fails.
template <typename T>
struct ModelKernels {
  using Count = std::int64_t;
  void (*add_dropout)(const T* x, const T* s, T* y, Count n, Dropout dropout, void* stream);
  void (*dropout_backward)(const T* g, T* g_s, Count n, Dropout dropout, void* stream);
  void (*bias_relu_dropout)(T* h, const T* bias, Count rows, Count columns, Dropout dropout,
                            void* stream);
  void (*relu_dropout_backward)(const T* h, T* g, Count n, Dropout dropout, void* stream);
  void (*add_column_sums)(const T* x, float* out, Count rows, Count columns, void* stream);
  void (*add_to)(T* y, const T* x, Count n, void* stream);
  void (*accumulate)(float* y, const T* x, Count n, void* stream);
  void (*widen)(const T* x, float* y, Count n, void* stream);
  void (*narrow)(const float* x, T* y, Count n, void* stream);
  void (*layer_norm)(const T* x, const T* gamma, const T* beta, T* y, float* mean, float* rstd,
                     Count rows, Count columns, void* stream);
  void (*layer_norm_backward)(const T* g, const T* x, const T* gamma, const float* mean,
                              const float* rstd, T* g_x, float* g_gamma, float* g_beta, Count rows,
                              Count columns, void* stream);
  /// `key_lengths` [batch] is device memory too, or null.
  void (*masked_softmax)(T* scores, const std::int32_t* key_lengths, bool causal, Count batch,
                         Count heads, Count queries, Count keys, void* stream);
  void (*apply_dropout)(const T* p, T* out, Count n, Dropout dropout, void* stream);
  void (*softmax_dropout_backward)(const T* p, T* g, Count rows, Count keys, Dropout dropout,
                                   void* stream);
  /// `offsets` [batch + 1] is device memory too.
  void (*split_heads)(const T* x, const std::int64_t* offsets, T* out, Count batch, Count length,
                      Count heads, Count width, Count stride, float scale, void* stream);
  void (*merge_heads)(const T* h, const std::int64_t* offsets, T* x, Count batch, Count length,
                      Count heads, Count width, Count stride, float scale, void* stream);
  void (*embed)(const T* weight, const std::int64_t* ids, const float* position,
                const std::int32_t* places, T* y, Count rows, Count width, float scale,
                Dropout dropout, void* stream);
  void (*embed_backward)(const T* g, const std::int64_t* ids, float* g_weight, Count rows,
                         Count width, float scale, Dropout dropout, void* stream);
  /// `row_losses` [rows] is filled: its sum in row order is the CPU's result up to the rounding of
  /// log. Nothing is read back.
  void (*cross_entropy)(T* logits, const std::int64_t* labels, double* row_losses, Count rows,
                        Count vocabulary, float smoothing, float g_scale, void* stream);
  /// *out += x[0] + … + x[n-1], added in order: the total of row losses, in device memory.
  void (*add_total)(const double* x, double* out, Count n, void* stream);
  /// out [query rows, H*K]: the heads' results. On the host (model/ops/host_attention) for all
  /// types and sizes, null where a processor lacks the instructions. Else null for fp32, on a
  /// stand-in and on a GPU whose blocks have less memory; else for sizes that fuses_attention()
  /// takes and rows that begin at 16 bytes: products of 16-bit operands with fp32 sums, fp32
  /// scores; probabilities are rounded to T before and after their draws.
  void (*attention)(const AttentionOperands<T>& operands, T* out, void* stream);
  /// Gradients of q [query rows], k and v [key rows], with the operands' strides, from that of
  /// `out`, g [query rows, H*K]. Probabilities are computed again.
  void (*attention_backward)(const AttentionOperands<T>& operands, const T* g, T* g_q, T* g_k,
                             T* g_v, void* stream);
};

}  // namespace th::runtime
