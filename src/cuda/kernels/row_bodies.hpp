#pragma once

#include <cmath>
#include <cstdint>

#include "cuda/kernels/element_bodies.hpp"
#include "th/base/dropout.hpp"
#include "th/base/half_float.hpp"
#include "th/base/host_device.hpp"
#include "th/base/vector_math.hpp"

// The kernels of a row whose sums lanes share: body(row, lanes). `lanes` is RowLanes, PackedLanes
// or BlockLanes on a GPU and HostLanes in tests; with 16 lanes sums have the bits of the CPU's
// lane_sum. A lane reads what it wrote itself, unless meet() stands between. Rows that are read
// several times come by lanes.row(), value k of a lane being that of column d. Sums over rows:
// body.add<N>(row, column, sums) and body.write(column, sums). nvcc compiles each body for both
// sides; the host's half is instantiated with HostLanes alone.
namespace th::cuda {

template <typename T>
struct LayerNorm {
  using Element = T;
  const T *x, *gamma, *beta;
  T* y;
  float *mean, *rstd;
  std::int64_t columns;
  [[nodiscard]] bool packs() const { return aligned(x, gamma, beta, y); }
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    const float inverse = 1.0F / static_cast<float>(columns);
    const auto in = lanes.row(x + m * columns), scale = lanes.row(gamma), shift = lanes.row(beta);
    const float mu =
        lanes.sum_row(columns, [&](int k, std::int64_t d) { return in.at(k, d); }) * inverse;
    const float variance = lanes.sum_row(columns, [&](int k, std::int64_t d) {
      return (in.at(k, d) - mu) * (in.at(k, d) - mu);
    }) * inverse;
    const float r = 1.0F / sqrtf(variance + 1e-5F);
    lanes.store_row(y + m * columns, columns, [&](int k, std::int64_t d) {
      return (in.at(k, d) - mu) * r * scale.at(k, d) + shift.at(k, d);
    });
    if (!lanes.first()) return;
    mean[m] = mu;
    rstd[m] = r;
  }
};

/// The input's gradient, a row.
template <typename T>
struct LayerNormInputGradient {
  using Element = T;
  const T *g, *x, *gamma;
  const float *mean, *rstd;
  T* g_x;
  std::int64_t columns;
  [[nodiscard]] bool packs() const { return aligned(g, x, gamma, g_x); }
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    const float inverse = 1.0F / static_cast<float>(columns);
    const auto go = lanes.row(g + m * columns), in = lanes.row(x + m * columns),
               scale = lanes.row(gamma);
    const float mu = mean[m], r = rstd[m];
    const auto hat = [&](int k, std::int64_t d) { return (in.at(k, d) - mu) * r; };
    const float a = lanes.sum_row(columns, [&](int k, std::int64_t d) {
      return go.at(k, d) * scale.at(k, d);
    }) * inverse;
    const float b = lanes.sum_row(columns, [&](int k, std::int64_t d) {
      return go.at(k, d) * scale.at(k, d) * hat(k, d);
    }) * inverse;
    lanes.store_row(g_x + m * columns, columns, [&](int k, std::int64_t d) {
      return (go.at(k, d) * scale.at(k, d) - a - hat(k, d) * b) * r;
    });
  }
};

/// The gradients of gamma and beta, a column each.
template <typename T>
struct LayerNormParameterGradient {
  static constexpr int kSums = 2, kPack = kPackOf<T>;
  const T *g, *x;
  const float *mean, *rstd;
  float *g_gamma, *g_beta;
  std::int64_t rows, columns;
  [[nodiscard]] bool packs() const { return aligned(g, x) && columns % kPack == 0; }
  template <int N>
  TH_HOST_DEVICE void add(std::int64_t m, std::int64_t d, float (&sums)[kSums][N]) const {
    const Pack<T, N> of_g = load<N>(g + m * columns + d), of_x = load<N>(x + m * columns + d);
    const float mu = mean[m], r = rstd[m];
    for (int j = 0; j < N; ++j) {
      sums[0][j] += to_float(of_g.at[j]) * ((to_float(of_x.at[j]) - mu) * r);
      sums[1][j] += to_float(of_g.at[j]);
    }
  }
  TH_HOST_DEVICE void write(std::int64_t d, int which, float sum) const {
    (which == 0 ? g_gamma : g_beta)[d] += sum;
  }
};

template <typename T>
struct AddColumnSums {
  static constexpr int kSums = 1, kPack = kPackOf<T>;
  const T* x;
  float* out;
  std::int64_t rows, columns;
  [[nodiscard]] bool packs() const { return aligned(x) && columns % kPack == 0; }
  template <int N>
  TH_HOST_DEVICE void add(std::int64_t m, std::int64_t d, float (&sums)[kSums][N]) const {
    const Pack<T, N> of_x = load<N>(x + m * columns + d);
    for (int j = 0; j < N; ++j) sums[0][j] += to_float(of_x.at[j]);
  }
  TH_HOST_DEVICE void write(std::int64_t d, int, float sum) const { out[d] += sum; }
};

/// Whether exponentials stay in the row between two passes: 16-bit rows would round them, and
/// compute them again.
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
      const float inverse =
          1.0F / lanes.template sum<float>(n, [&](std::int64_t k) { return to_float(s[k]); });
      lanes.each(n, [&](std::int64_t k) { s[k] = from_float<T>(to_float(s[k]) * inverse); });
    } else {
      const float inverse = 1.0F / lanes.template sum<float>(n, [&](std::int64_t k) {
        return exp_fixed(to_float(s[k]) - top);
      });
      lanes.each(n, [&](std::int64_t k) {
        s[k] = from_float<T>(exp_fixed(to_float(s[k]) - top) * inverse);
      });
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
    const auto dropped = [&](std::int64_t k) {
      return drops ? to_float(gr[k]) * draws.factor(m * keys + k) : to_float(gr[k]);
    };
    const float dot = lanes.template sum<float>(
        keys, [&](std::int64_t k) { return to_float(pr[k]) * dropped(k); });
    lanes.each(
        keys, [&](std::int64_t k) { gr[k] = from_float<T>(to_float(pr[k]) * (dropped(k) - dot)); });
  }
};

/// The first row of an id adds the rows of that id, in their order: no two rows write one place,
/// and the order is the CPU's.
template <typename T>
struct EmbedBackward {
  const T* g;
  const std::int64_t* ids;
  float* g_weight;
  std::int64_t rows, width;
  float scale;
  DropoutDraws draws;
  bool drops;
  /// What row `row` adds to element d of its id's gradient.
  TH_HOST_DEVICE float term(std::int64_t row, std::int64_t d) const {
    const float of_g = to_float(g[row * width + d]);
    return drops ? of_g * draws.factor(row * width + d) * scale : of_g * scale;
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
    const float mean =
        smoothing == 0.0F ? 0.0F : lanes.template sum<float>(vocabulary, [&](std::int64_t v) {
          return to_float(row[v]) - top;
        }) / static_cast<float>(vocabulary);
    lanes.meet();  // every lane has read the label's logit
    if constexpr (kKeepsExponentials<T>)
      lanes.each(vocabulary, [&](std::int64_t v) {
        row[v] = from_float<T>(exp_fixed(to_float(row[v]) - top));
      });
    const auto exponential = [&](std::int64_t v) {
      return kKeepsExponentials<T> ? to_float(row[v]) : exp_fixed(to_float(row[v]) - top);
    };
    const float sum = lanes.template sum<float>(vocabulary, exponential);
    if (lanes.first()) {
      row_losses[m] = log(static_cast<double>(sum)) -
                      (1.0 - static_cast<double>(smoothing)) * static_cast<double>(target) -
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
