#pragma once

#include <cmath>
#include <cstdint>

#include "th/base/dropout.hpp"
#include "th/base/half_float.hpp"
#include "th/base/host_device.hpp"
#include "th/base/vector_math.hpp"

// The kernels of a row (or column) whose sums 16 lanes share: body(row, lanes). `lanes` is RowLanes or ColumnLanes on a GPU and HostLanes
// in tests; sums have the bits of the CPU's lane_sum. A lane reads what it wrote itself, unless meet() stands between. nvcc compiles each
// body for both sides; the host's half is instantiated with HostLanes alone.
namespace th::cuda {

template <typename T>
struct LayerNorm {
  const T *x, *gamma, *beta;
  T* y;
  float *mean, *rstd;
  std::int64_t columns;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    const float inverse = 1.0F / static_cast<float>(columns);
    const T* in = x + m * columns;
    T* out = y + m * columns;
    const float mu = lanes.template sum<float>(columns, [&](std::int64_t d) { return to_float(in[d]); }) * inverse;
    const float variance =
        lanes.template sum<float>(columns, [&](std::int64_t d) { return (to_float(in[d]) - mu) * (to_float(in[d]) - mu); }) * inverse;
    const float r = 1.0F / sqrtf(variance + 1e-5F);
    lanes.each(columns,
               [&](std::int64_t d) { out[d] = from_float<T>((to_float(in[d]) - mu) * r * to_float(gamma[d]) + to_float(beta[d])); });
    if (!lanes.first()) return;
    mean[m] = mu;
    rstd[m] = r;
  }
};

/// The input's gradient, a row.
template <typename T>
struct LayerNormInputGradient {
  const T *g, *x, *gamma;
  const float *mean, *rstd;
  T* g_x;
  std::int64_t columns;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    const float inverse = 1.0F / static_cast<float>(columns);
    const T *go = g + m * columns, *in = x + m * columns;
    T* gi = g_x + m * columns;
    const float mu = mean[m], r = rstd[m];
    const float a = lanes.template sum<float>(columns, [&](std::int64_t d) { return to_float(go[d]) * to_float(gamma[d]); }) * inverse;
    const float b = lanes.template sum<float>(columns, [&](std::int64_t d) {
      return to_float(go[d]) * to_float(gamma[d]) * ((to_float(in[d]) - mu) * r);
    }) * inverse;
    lanes.each(columns, [&](std::int64_t d) {
      const float hat = (to_float(in[d]) - mu) * r;
      gi[d] = from_float<T>((to_float(go[d]) * to_float(gamma[d]) - a - hat * b) * r);
    });
  }
};

/// The gradients of gamma and beta, a column; column -1 takes part in the sums and writes nothing.
template <typename T>
struct LayerNormParameterGradient {
  const T *g, *x;
  const float *mean, *rstd;
  float *g_gamma, *g_beta;
  std::int64_t rows, columns;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t column, const Lanes& lanes) const {
    const std::int64_t d = column < 0 ? 0 : column;
    const float of_gamma = lanes.template sum<float>(
        rows, [&](std::int64_t m) { return to_float(g[m * columns + d]) * ((to_float(x[m * columns + d]) - mean[m]) * rstd[m]); });
    const float of_beta = lanes.template sum<float>(rows, [&](std::int64_t m) { return to_float(g[m * columns + d]); });
    if (column < 0 || !lanes.first()) return;
    g_gamma[d] += of_gamma;
    g_beta[d] += of_beta;
  }
};

template <typename T>
struct AddColumnSums {
  const T* x;
  float* out;
  std::int64_t rows, columns;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t column, const Lanes& lanes) const {
    const std::int64_t d = column < 0 ? 0 : column;
    const float sum = lanes.template sum<float>(rows, [&](std::int64_t m) { return to_float(x[m * columns + d]); });
    if (column >= 0 && lanes.first()) out[d] += sum;
  }
};

/// Whether exponentials stay in the row between two passes: 16-bit rows would round them, and compute them again.
template <typename T>
inline constexpr bool kKeepsExponentials = sizeof(T) == sizeof(float);

template <typename T>
struct MaskedSoftmax {
  T* scores;
  const std::int32_t* key_lengths;
  bool causal;
  std::int64_t heads, queries, keys;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t row, const Lanes& lanes) const {
    const std::int64_t real = key_lengths != nullptr ? key_lengths[row / (heads * queries)] : keys;
    const std::int64_t seen = row % queries + 1;
    const std::int64_t n = causal && seen < real ? seen : real;
    T* s = scores + row * keys;
    const float top = lanes.maximum(n, [&](std::int64_t k) { return to_float(s[k]); });
    if constexpr (kKeepsExponentials<T>) {
      lanes.each(n, [&](std::int64_t k) { s[k] = from_float<T>(exp_fixed(to_float(s[k]) - top)); });
      const float inverse = 1.0F / lanes.template sum<float>(n, [&](std::int64_t k) { return to_float(s[k]); });
      lanes.each(n, [&](std::int64_t k) { s[k] = from_float<T>(to_float(s[k]) * inverse); });
    } else {
      const float inverse = 1.0F / lanes.template sum<float>(n, [&](std::int64_t k) { return exp_fixed(to_float(s[k]) - top); });
      lanes.each(n, [&](std::int64_t k) { s[k] = from_float<T>(exp_fixed(to_float(s[k]) - top) * inverse); });
    }
    lanes.each(keys - n, [&](std::int64_t k) { s[n + k] = T{}; });
  }
};

template <typename T>
struct SoftmaxDropoutBackward {
  const T* p;
  T* g;
  std::int64_t keys;
  DropoutDraws draws;
  bool drops;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    const T* pr = p + m * keys;
    T* gr = g + m * keys;
    const auto dropped = [&](std::int64_t k) { return drops ? to_float(gr[k]) * draws.factor(m * keys + k) : to_float(gr[k]); };
    const float dot = lanes.template sum<float>(keys, [&](std::int64_t k) { return to_float(pr[k]) * dropped(k); });
    lanes.each(keys, [&](std::int64_t k) { gr[k] = from_float<T>(to_float(pr[k]) * (dropped(k) - dot)); });
  }
};

/// The first row of an id adds the rows of that id, in their order: no two rows write one place, and the order is the CPU's.
template <typename T>
struct EmbedBackward {
  const T* g;
  const std::int64_t* ids;
  float* g_weight;
  std::int64_t rows, width;
  float scale;
  DropoutDraws draws;
  bool drops;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    const std::int64_t id = ids[m];
    if (id == 0) return;
    for (std::int64_t before = 0; before < m; ++before) {
      if (ids[before] == id) return;
    }
    float* to = g_weight + id * width;
    for (std::int64_t row = m; row < rows; ++row) {
      if (ids[row] != id) continue;
      const T* from = g + row * width;
      lanes.each(width, [&](std::int64_t d) {
        to[d] += drops ? to_float(from[d]) * draws.factor(row * width + d) * scale : to_float(from[d]) * scale;
      });
    }
  }
};

template <typename T>
struct CrossEntropy {
  T* logits;
  const std::int64_t* labels;
  double* row_losses;
  std::int64_t vocabulary;
  float smoothing, g_scale;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    T* row = logits + m * vocabulary;
    const std::int64_t label = labels[m];
    if (label == 0) {
      if (g_scale != 0.0F) lanes.each(vocabulary, [&](std::int64_t v) { row[v] = T{}; });
      if (lanes.first()) row_losses[m] = 0;
      return;
    }
    const float top = lanes.maximum(vocabulary, [&](std::int64_t v) { return to_float(row[v]); });
    const float at_label = to_float(row[label]);
    const float target = at_label - top;
    const float mean = smoothing == 0.0F ? 0.0F : lanes.template sum<float>(vocabulary, [&](std::int64_t v) {
      return to_float(row[v]) - top;
    }) / static_cast<float>(vocabulary);
    lanes.meet();  // every lane has read the label's logit
    if constexpr (kKeepsExponentials<T>)
      lanes.each(vocabulary, [&](std::int64_t v) { row[v] = from_float<T>(exp_fixed(to_float(row[v]) - top)); });
    const auto exponential = [&](std::int64_t v) { return kKeepsExponentials<T> ? to_float(row[v]) : exp_fixed(to_float(row[v]) - top); };
    const float sum = lanes.template sum<float>(vocabulary, exponential);
    if (lanes.first()) {
      row_losses[m] = log(static_cast<double>(sum)) - (1.0 - static_cast<double>(smoothing)) * static_cast<double>(target) -
                      static_cast<double>(smoothing) * static_cast<double>(mean);
    }
    if (g_scale == 0.0F) return;
    const float scale = g_scale / sum;
    const float base = smoothing / static_cast<float>(vocabulary) * g_scale;
    const float correction = (1.0F - smoothing) * g_scale;
    lanes.each(vocabulary, [&](std::int64_t v) {
      const float gradient = exponential(v) * scale - base;
      row[v] = from_float<T>(v == label ? gradient - correction : gradient);
    });
  }
};

}  // namespace th::cuda
