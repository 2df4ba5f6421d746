#pragma once

#include "th/model/ops/kernels.hpp"
#include "th/runtime/device/model_kernels.hpp"

namespace th::model {

/// The table's entries on the host: the kernels, which compute at once and need no stream.
template <typename T>
struct OnHost {
  using Count = std::int64_t;
  static void add_dropout(const T* x, const T* s, T* y, Count n, Dropout dropout, void*) {
    model::add_dropout(x, s, y, n, dropout);
  }
  static void dropout_backward(const T* g, T* g_s, Count n, Dropout dropout, void*) {
    model::dropout_backward(g, g_s, n, dropout);
  }
  static void bias_relu_dropout(T* h, const T* bias, Count rows, Count columns, Dropout dropout,
                                void*) {
    model::bias_relu_dropout(h, bias, rows, columns, dropout);
  }
  static void relu_dropout_backward(const T* h, T* g, Count n, Dropout dropout, void*) {
    model::relu_dropout_backward(h, g, n, dropout);
  }
  static void add_column_sums(const T* x, float* out, Count rows, Count columns, void*) {
    model::add_column_sums(x, out, rows, columns);
  }
  static void add_to(T* y, const T* x, Count n, void*) { model::add_to(y, x, n); }
  static void accumulate(float* y, const T* x, Count n, void*) { model::accumulate(y, x, n); }
  static void widen(const T* x, float* y, Count n, void*) { model::widen(x, y, n); }
  static void narrow(const float* x, T* y, Count n, void*) { model::narrow(x, y, n); }
  static void layer_norm(const T* x, const T* gamma, const T* beta, T* y, float* mean, float* rstd,
                         Count rows, Count columns, void*) {
    model::layer_norm(x, gamma, beta, y, mean, rstd, rows, columns);
  }
  static void layer_norm_backward(const T* g, const T* x, const T* gamma, const float* mean,
                                  const float* rstd, T* g_x, float* g_gamma, float* g_beta,
                                  Count rows, Count columns, void*) {
    model::layer_norm_backward(g, x, gamma, mean, rstd, g_x, g_gamma, g_beta, rows, columns);
  }
  static void masked_softmax(T* scores, const std::int32_t* key_lengths, bool causal, Count batch,
                             Count heads, Count queries, Count keys, void*) {
    model::masked_softmax(scores, batch, heads, queries, keys, {key_lengths, causal});
  }
  static void apply_dropout(const T* p, T* out, Count n, Dropout dropout, void*) {
    model::apply_dropout(p, out, n, dropout);
  }
  static void softmax_dropout_backward(const T* p, T* g, Count rows, Count keys, Dropout dropout,
                                       void*) {
    model::softmax_dropout_backward(p, g, rows, keys, dropout);
  }
  static void split_heads(const T* x, const std::int64_t* offsets, T* out, Count batch,
                          Count length, Count heads, Count width, Count stride, float scale,
                          void*) {
    model::split_heads(x, offsets, out, batch, length, heads, width, stride, scale);
  }
  static void merge_heads(const T* h, const std::int64_t* offsets, T* x, Count batch, Count length,
                          Count heads, Count width, Count stride, float scale, void*) {
    model::merge_heads(h, offsets, x, batch, length, heads, width, stride, scale);
  }
  static void embed(const T* weight, const std::int64_t* ids, const float* position,
                    const std::int32_t* places, T* y, Count rows, Count width, float scale,
                    Dropout dropout, void*) {
    model::embed(weight, ids, position, places, y, rows, width, scale, dropout);
  }
  static void embed_backward(const T* g, const std::int64_t* ids, float* g_weight, Count rows,
                             Count width, float scale, Dropout dropout, void*) {
    model::embed_backward(g, ids, g_weight, rows, width, scale, dropout);
  }
  /// Row by row: the kernel returns the sum of its rows.
  static void row_losses(T* logits, const std::int64_t* labels, double* out, Count rows,
                         Count vocabulary, float smoothing, float g_scale, const T* bias) {
    for (Count m = 0; m < rows; ++m)
      out[m] = model::cross_entropy(logits + m * vocabulary, labels + m, 1, vocabulary, smoothing,
                                    g_scale, bias);
  }
  static void cross_entropy(T* logits, const std::int64_t* labels, double* row_losses, Count rows,
                            Count vocabulary, float smoothing, float g_scale, void*) {
    OnHost::row_losses(logits, labels, row_losses, rows, vocabulary, smoothing, g_scale, nullptr);
  }
  static void add_total(const double* x, double* out, Count n, void*) {
    double total = 0;
    for (Count i = 0; i < n; ++i) total += x[i];
    *out += total;
  }
};

template <typename T>
[[nodiscard]] constexpr runtime::ModelKernels<T> host_kernel_table() {
  using K = OnHost<T>;
  return {.add_dropout = K::add_dropout,
          .dropout_backward = K::dropout_backward,
          .bias_relu_dropout = K::bias_relu_dropout,
          .relu_dropout_backward = K::relu_dropout_backward,
          .add_column_sums = K::add_column_sums,
          .add_to = K::add_to,
          .accumulate = K::accumulate,
          .widen = K::widen,
          .narrow = K::narrow,
          .layer_norm = K::layer_norm,
          .layer_norm_backward = K::layer_norm_backward,
          .masked_softmax = K::masked_softmax,
          .apply_dropout = K::apply_dropout,
          .softmax_dropout_backward = K::softmax_dropout_backward,
          .split_heads = K::split_heads,
          .merge_heads = K::merge_heads,
          .embed = K::embed,
          .embed_backward = K::embed_backward,
          .cross_entropy = K::cross_entropy,
          .add_total = K::add_total,
          .attention = nullptr,
          .attention_backward = nullptr};
}

}  // namespace th::model
