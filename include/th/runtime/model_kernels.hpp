#pragma once

#include <cstdint>

#include "th/base/dropout.hpp"

namespace th::runtime {

/// The model's kernels (th/model/kernels.hpp has the formulas, under the same names) on memory of one device for elements T: float, Bf16,
/// Fp16. Every pointer is memory of that device; the work is enqueued on `stream` (a cudaStream_t) and nothing waits for it. The same bits
/// as the CPU's kernels except where a sum runs over rows (add_column_sums, layer_norm_backward's g_gamma and g_beta), which is taken in 16
/// strands of every 16th row: always in the same order, but in another one than the CPU's. They throw DeviceError when a launch fails.
template <typename T>
struct ModelKernels {
  using Count = std::int64_t;
  void (*add_dropout)(const T* x, const T* s, T* y, Count n, Dropout dropout, void* stream);
  void (*dropout_backward)(const T* g, T* g_s, Count n, Dropout dropout, void* stream);
  void (*bias_relu_dropout)(T* h, const T* bias, Count rows, Count columns, Dropout dropout, void* stream);
  void (*relu_dropout_backward)(const T* h, T* g, Count n, Dropout dropout, void* stream);
  void (*add_column_sums)(const T* x, float* out, Count rows, Count columns, void* stream);
  void (*add_to)(T* y, const T* x, Count n, void* stream);
  void (*accumulate)(float* y, const T* x, Count n, void* stream);
  void (*widen)(const T* x, float* y, Count n, void* stream);
  void (*narrow)(const float* x, T* y, Count n, void* stream);
  void (*layer_norm)(const T* x, const T* gamma, const T* beta, T* y, float* mean, float* rstd, Count rows, Count columns, void* stream);
  void (*layer_norm_backward)(const T* g, const T* x, const T* gamma, const float* mean, const float* rstd, T* g_x, float* g_gamma,
                              float* g_beta, Count rows, Count columns, void* stream);
  /// `key_lengths` [batch] is device memory too, or null.
  void (*masked_softmax)(T* scores, const std::int32_t* key_lengths, bool causal, Count batch, Count heads, Count queries, Count keys,
                         void* stream);
  void (*apply_dropout)(const T* p, T* out, Count n, Dropout dropout, void* stream);
  void (*softmax_dropout_backward)(const T* p, T* g, Count rows, Count keys, Dropout dropout, void* stream);
  /// `offsets` [batch + 1] is device memory too.
  void (*split_heads)(const T* x, const std::int64_t* offsets, T* out, Count batch, Count length, Count heads, Count width, Count stride,
                      float scale, void* stream);
  void (*merge_heads)(const T* h, const std::int64_t* offsets, T* x, Count batch, Count length, Count heads, Count width, Count stride,
                      float scale, void* stream);
  void (*embed)(const T* weight, const std::int64_t* ids, const float* position, const std::int32_t* places, T* y, Count rows, Count width,
                float scale, Dropout dropout, void* stream);
  void (*embed_backward)(const T* g, const std::int64_t* ids, float* g_weight, Count rows, Count width, float scale, Dropout dropout,
                         void* stream);
  /// `row_losses` [rows] is filled: its sum in row order is the CPU's result up to the rounding of log. Nothing is read back.
  void (*cross_entropy)(T* logits, const std::int64_t* labels, double* row_losses, Count rows, Count vocabulary, float smoothing,
                        float g_scale, void* stream);
  /// *out += x[0] + … + x[n-1], added in order: the total of row losses, in device memory.
  void (*add_total)(const double* x, double* out, Count n, void* stream);
};

}  // namespace th::runtime
