#pragma once

#include "cuda/kernels/element_bodies.hpp"
#include "cuda/kernels/row_bodies.hpp"
#include "th/runtime/device/model_kernels.hpp"

namespace th::cuda {

/// The table's entries as launches of bodies: DeviceLaunch in the plugin, HostLaunch in tests
/// without a GPU.
template <typename T, typename Launch>
struct KernelsBy {
  using Count = std::int64_t;
  static void add_dropout(const T* x, const T* s, T* y, Count n, Dropout dropout, void* stream) {
    Launch::elements("add_dropout", n,
                     AddDropout<T>{x, s, y, DropoutDraws(dropout), dropout.rate != 0.0F}, stream);
  }
  static void drop(const T* x, T* out, Count n, Dropout dropout, void* stream) {
    Launch::elements("dropout", n, DropElements<T>{x, out, DropoutDraws(dropout)}, stream);
  }
  static void bias_relu_dropout(T* h, const T* bias, Count rows, Count columns, Dropout dropout,
                                void* stream) {
    Launch::elements(
        "bias_relu_dropout", rows * columns,
        BiasReluDropout<T>{h, bias, columns, DropoutDraws(dropout), dropout.rate != 0.0F}, stream);
  }
  static void relu_dropout_backward(const T* h, T* g, Count n, Dropout dropout, void* stream) {
    const float scale = dropout.rate == 0.0F ? 1.0F : 1.0F / (1.0F - dropout.rate);
    Launch::elements("relu_dropout_backward", n, ReluDropoutBackward<T>{h, g, scale}, stream);
  }
  static void add_column_sums(const T* x, float* out, Count rows, Count columns, void* stream) {
    Launch::columns("add_column_sums", AddColumnSums<T>{x, out, rows, columns}, stream);
  }
  static void add_to(T* y, const T* x, Count n, void* stream) {
    Launch::elements("add_to", n, AddElements<T, T>{y, x}, stream);
  }
  static void accumulate(float* y, const T* x, Count n, void* stream) {
    Launch::elements("accumulate", n, AddElements<float, T>{y, x}, stream);
  }
  static void widen(const T* x, float* y, Count n, void* stream) {
    Launch::elements("widen", n, ConvertElements<float, T>{x, y}, stream);
  }
  static void narrow(const float* x, T* y, Count n, void* stream) {
    Launch::elements("narrow", n, ConvertElements<T, float>{x, y}, stream);
  }
  static void layer_norm(const T* x, const T* gamma, const T* beta, T* y, float* mean, float* rstd,
                         Count rows, Count columns, void* stream) {
    Launch::kept_rows("layer_norm", rows, LayerNorm<T>{x, gamma, beta, y, mean, rstd, columns},
                      stream);
  }
  static void layer_norm_backward(const T* g, const T* x, const T* gamma, const float* mean,
                                  const float* rstd, T* g_x, float* g_gamma, float* g_beta,
                                  Count rows, Count columns, void* stream) {
    // The columns first: g_x may be g.
    Launch::columns("layer_norm_backward",
                    LayerNormParameterGradient<T>{g, x, mean, rstd, g_gamma, g_beta, rows, columns},
                    stream);
    Launch::kept_rows("layer_norm_backward", rows,
                      LayerNormInputGradient<T>{g, x, gamma, mean, rstd, g_x, columns}, stream);
  }
  static void masked_softmax(T* scores, const std::int32_t* key_lengths, bool causal, Count batch,
                             Count heads, Count queries, Count keys, void* stream) {
    Launch::rows("masked_softmax", batch * heads * queries,
                 MaskedSoftmax<T>{scores, key_lengths, causal, heads, queries, keys}, stream);
  }
  static void softmax_dropout_backward(const T* p, T* g, Count rows, Count keys, Dropout dropout,
                                       void* stream) {
    Launch::rows("softmax_dropout_backward", rows,
                 SoftmaxDropoutBackward<T>{p, g, keys, DropoutDraws(dropout), dropout.rate != 0.0F},
                 stream);
  }
  static void split_heads(const T* x, const std::int64_t* offsets, T* out, Count batch,
                          Count length, Count heads, Count width, Count stride, float scale,
                          void* stream) {
    Launch::elements("split_heads", batch * heads * length * width,
                     SplitHeads<T>{x, out, {offsets, length, heads, width, stride}, scale}, stream);
  }
  static void merge_heads(const T* h, const std::int64_t* offsets, T* x, Count batch, Count length,
                          Count heads, Count width, Count stride, float scale, void* stream) {
    Launch::elements("merge_heads", batch * heads * length * width,
                     MergeHeads<T>{h, x, {offsets, length, heads, width, stride}, scale}, stream);
  }
  static void embed(const T* weight, const std::int64_t* ids, const float* position,
                    const std::int32_t* places, T* y, Count rows, Count width, float scale,
                    Dropout dropout, void* stream) {
    Launch::elements("embed", rows * width,
                     Embed<T>{weight, ids, position, places, y, width, scale, DropoutDraws(dropout),
                              dropout.rate != 0.0F},
                     stream);
  }
  static void embed_backward(const T* g, const std::int64_t* ids, float* g_weight, Count rows,
                             Count width, float scale, Dropout dropout, void* stream) {
    Launch::ids("embed_backward",
                EmbedBackward<T>{g, ids, g_weight, rows, width, scale, DropoutDraws(dropout),
                                 dropout.rate != 0.0F},
                stream);
  }
  static void cross_entropy(T* logits, const std::int64_t* labels, double* row_losses, Count rows,
                            Count vocabulary, float smoothing, float g_scale, void* stream) {
    Launch::long_rows("cross_entropy", rows,
                      CrossEntropy<T>{logits, labels, row_losses, vocabulary, smoothing, g_scale},
                      stream);
  }
  static void add_total(const double* x, double* out, Count n, void* stream) {
    Launch::total("add_total", x, out, n, stream);
  }
};

template <typename T, typename Launch>
[[nodiscard]] constexpr runtime::ModelKernels<T> model_kernel_table() {
  using K = KernelsBy<T, Launch>;
  return {K::add_dropout,
          K::drop,
          K::bias_relu_dropout,
          K::relu_dropout_backward,
          K::add_column_sums,
          K::add_to,
          K::accumulate,
          K::widen,
          K::narrow,
          K::layer_norm,
          K::layer_norm_backward,
          K::masked_softmax,
          K::drop,
          K::softmax_dropout_backward,
          K::split_heads,
          K::merge_heads,
          K::embed,
          K::embed_backward,
          K::cross_entropy,
          K::add_total,
          nullptr,
          nullptr};
}

}  // namespace th::cuda
