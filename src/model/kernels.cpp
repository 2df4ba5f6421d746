#include "th/model/kernels.hpp"

#include "th/base/hash.hpp"
#include "vector_math.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define TH_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TH_CLONES
#endif

namespace th::model {

namespace {

/// A well mixed 32-bit word of (key, index): two rounds of multiply and shift over both halves of the key.
inline std::uint32_t draw(std::uint32_t low, std::uint32_t high, std::uint32_t i) {
  std::uint32_t x = (i ^ low) * 0x9e3779b1U;
  x ^= x >> 16;
  x += high;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  x ^= x >> 16;
  return x;
}

struct Draws {
  explicit Draws(Dropout d)
      : low(static_cast<std::uint32_t>(mix64(d.key))), high(static_cast<std::uint32_t>(mix64(d.key) >> 32)),
        threshold(static_cast<std::uint32_t>(std::lround(static_cast<double>(d.rate) * 16777216.0))), scale(1.0F / (1.0F - d.rate)) {}
  [[nodiscard]] float factor(std::int64_t i) const { return (draw(low, high, static_cast<std::uint32_t>(i)) >> 8) >= threshold ? scale : 0.0F; }
  std::uint32_t low, high, threshold;
  float scale;
};

constexpr int kLanes = 16;

/// Sum over n values in a fixed tree of 16 lanes: vectorises, and gives one result on every instruction set.
template <typename F>
inline float lane_sum(std::int64_t n, F value) {
  float lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) lanes[l] += value(i + l);
  }
  for (int l = 0; i < n; ++i, ++l) lanes[l] += value(i);
  for (int w = kLanes / 2; w > 0; w /= 2) {
    for (int l = 0; l < w; ++l) lanes[l] += lanes[l + w];
  }
  return lanes[0];
}

inline float row_maximum(const float* x, std::int64_t n) {
  float top = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < n; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

}  // namespace

TH_CLONES void add_dropout(const float* x, const float* s, float* y, std::int64_t n, Dropout dropout) {
  if (dropout.rate == 0.0F) {
    for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] + s[i];
    return;
  }
  const Draws draws(dropout);
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] + s[i] * draws.factor(i);
}

TH_CLONES void dropout_backward(const float* g, float* g_s, std::int64_t n, Dropout dropout) {
  if (dropout.rate == 0.0F) {
    std::memcpy(g_s, g, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  const Draws draws(dropout);
  for (std::int64_t i = 0; i < n; ++i) g_s[i] = g[i] * draws.factor(i);
}

TH_CLONES void bias_relu_dropout(float* h, const float* bias, std::int64_t rows, std::int64_t columns, Dropout dropout) {
  const Draws draws(dropout);
  for (std::int64_t m = 0; m < rows; ++m) {
    float* row = h + m * columns;
    const std::int64_t first = m * columns;
    if (dropout.rate == 0.0F) {
      for (std::int64_t d = 0; d < columns; ++d) row[d] = std::max(row[d] + bias[d], 0.0F);
    } else {
      for (std::int64_t d = 0; d < columns; ++d) row[d] = std::max(row[d] + bias[d], 0.0F) * draws.factor(first + d);
    }
  }
}

TH_CLONES void relu_dropout_backward(const float* h, float* g, std::int64_t n, Dropout dropout) {
  const float scale = dropout.rate == 0.0F ? 1.0F : 1.0F / (1.0F - dropout.rate);
  for (std::int64_t i = 0; i < n; ++i) g[i] = h[i] > 0.0F ? g[i] * scale : 0.0F;
}

TH_CLONES void add_bias(float* x, const float* bias, std::int64_t rows, std::int64_t columns) {
  for (std::int64_t m = 0; m < rows; ++m) {
    float* row = x + m * columns;
    for (std::int64_t d = 0; d < columns; ++d) row[d] += bias[d];
  }
}

TH_CLONES void add_column_sums(const float* x, float* out, std::int64_t rows, std::int64_t columns) {
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* row = x + m * columns;
    for (std::int64_t d = 0; d < columns; ++d) out[d] += row[d];
  }
}

TH_CLONES void add_to(float* y, const float* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] += x[i];
}

TH_CLONES void layer_norm(const float* x, const float* gamma, const float* beta, float* y, float* mean, float* rstd, std::int64_t rows,
                          std::int64_t columns) {
  constexpr float kEps = 1e-5F;
  const float inverse = 1.0F / static_cast<float>(columns);
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* in = x + m * columns;
    float* out = y + m * columns;
    const float mu = lane_sum(columns, [&](std::int64_t d) { return in[d]; }) * inverse;
    const float variance = lane_sum(columns, [&](std::int64_t d) { return (in[d] - mu) * (in[d] - mu); }) * inverse;
    const float r = 1.0F / std::sqrt(variance + kEps);
    for (std::int64_t d = 0; d < columns; ++d) out[d] = (in[d] - mu) * r * gamma[d] + beta[d];
    mean[m] = mu;
    rstd[m] = r;
  }
}

TH_CLONES void layer_norm_backward(const float* g, const float* x, const float* gamma, const float* mean, const float* rstd, float* g_x,
                                   float* g_gamma, float* g_beta, std::int64_t rows, std::int64_t columns) {
  const float inverse = 1.0F / static_cast<float>(columns);
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* go = g + m * columns;
    const float* in = x + m * columns;
    float* gi = g_x + m * columns;
    const float mu = mean[m];
    const float r = rstd[m];
    const float a = lane_sum(columns, [&](std::int64_t d) { return go[d] * gamma[d]; }) * inverse;
    const float b = lane_sum(columns, [&](std::int64_t d) { return go[d] * gamma[d] * ((in[d] - mu) * r); }) * inverse;
    for (std::int64_t d = 0; d < columns; ++d) {
      const float hat = (in[d] - mu) * r;
      g_gamma[d] += go[d] * hat;
      g_beta[d] += go[d];
      gi[d] = (go[d] * gamma[d] - a - hat * b) * r;
    }
  }
}

TH_CLONES void masked_softmax(float* scores, std::int64_t batch, std::int64_t heads, std::int64_t queries, std::int64_t keys, AttentionMask mask) {
  for (std::int64_t b = 0; b < batch; ++b) {
    const std::int64_t real = mask.key_lengths != nullptr ? mask.key_lengths[b] : keys;
    for (std::int64_t row = 0; row < heads * queries; ++row) {
      float* s = scores + (b * heads * queries + row) * keys;
      const std::int64_t n = mask.causal ? std::min(real, row % queries + 1) : real;
      const float top = row_maximum(s, n);
      for (std::int64_t k = 0; k < n; ++k) s[k] = exp_fixed(s[k] - top);
      const float inverse = 1.0F / lane_sum(n, [&](std::int64_t k) { return s[k]; });
      for (std::int64_t k = 0; k < n; ++k) s[k] *= inverse;
      for (std::int64_t k = n; k < keys; ++k) s[k] = 0.0F;
    }
  }
}

TH_CLONES void apply_dropout(const float* p, float* out, std::int64_t n, Dropout dropout) {
  const Draws draws(dropout);
  for (std::int64_t i = 0; i < n; ++i) out[i] = p[i] * draws.factor(i);
}

TH_CLONES void softmax_dropout_backward(const float* p, float* g, std::int64_t rows, std::int64_t keys, Dropout dropout) {
  const Draws draws(dropout);
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* pr = p + m * keys;
    float* gr = g + m * keys;
    if (dropout.rate != 0.0F) {
      for (std::int64_t k = 0; k < keys; ++k) gr[k] *= draws.factor(m * keys + k);
    }
    const float dot = lane_sum(keys, [&](std::int64_t k) { return pr[k] * gr[k]; });
    for (std::int64_t k = 0; k < keys; ++k) gr[k] = pr[k] * (gr[k] - dot);
  }
}

TH_CLONES void split_heads(const float* x, float* out, std::int64_t batch, std::int64_t length, std::int64_t heads, std::int64_t width,
                           std::int64_t stride, float scale) {
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t t = 0; t < length; ++t) {
        const float* from = x + (b * length + t) * stride + h * width;
        float* to = out + ((b * heads + h) * length + t) * width;
        for (std::int64_t k = 0; k < width; ++k) to[k] = from[k] * scale;
      }
    }
  }
}

TH_CLONES void merge_heads(const float* h_in, float* x, std::int64_t batch, std::int64_t length, std::int64_t heads, std::int64_t width,
                           std::int64_t stride, float scale) {
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t t = 0; t < length; ++t) {
        const float* from = h_in + ((b * heads + h) * length + t) * width;
        float* to = x + (b * length + t) * stride + h * width;
        for (std::int64_t k = 0; k < width; ++k) to[k] = from[k] * scale;
      }
    }
  }
}

TH_CLONES void embed(const float* weight, const std::int64_t* ids, const float* position, float* y, std::int64_t rows, std::int64_t length,
                     std::int64_t width, float scale, Dropout dropout) {
  const Draws draws(dropout);
  for (std::int64_t m = 0; m < rows; ++m) {
    const float* from = weight + ids[m] * width;
    const float* at = position + m % length * width;
    float* to = y + m * width;
    if (dropout.rate == 0.0F) {
      for (std::int64_t d = 0; d < width; ++d) to[d] = from[d] * scale + at[d];
    } else {
      for (std::int64_t d = 0; d < width; ++d) to[d] = (from[d] * scale + at[d]) * draws.factor(m * width + d);
    }
  }
}

TH_CLONES void embed_backward(const float* g, const std::int64_t* ids, float* g_weight, std::int64_t rows, std::int64_t width, float scale,
                              Dropout dropout) {
  const Draws draws(dropout);
  for (std::int64_t m = 0; m < rows; ++m) {
    if (ids[m] == 0) continue;
    const float* from = g + m * width;
    float* to = g_weight + ids[m] * width;
    if (dropout.rate == 0.0F) {
      for (std::int64_t d = 0; d < width; ++d) to[d] += from[d] * scale;
    } else {
      for (std::int64_t d = 0; d < width; ++d) to[d] += from[d] * draws.factor(m * width + d) * scale;
    }
  }
}

TH_CLONES double cross_entropy(float* logits, const std::int64_t* labels, std::int64_t rows, std::int64_t vocabulary, float smoothing, float g_scale) {
  double total = 0;
  const float uniform = smoothing / static_cast<float>(vocabulary);
  for (std::int64_t m = 0; m < rows; ++m) {
    float* row = logits + m * vocabulary;
    const std::int64_t label = labels[m];
    if (label == 0) {
      if (g_scale != 0.0F) std::memset(row, 0, static_cast<std::size_t>(vocabulary) * sizeof(float));
      continue;
    }
    const float top = row_maximum(row, vocabulary);
    const float target = row[label] - top;
    const float mean = smoothing == 0.0F ? 0.0F
                                         : lane_sum(vocabulary, [&](std::int64_t v) { return row[v] - top; }) / static_cast<float>(vocabulary);
    for (std::int64_t v = 0; v < vocabulary; ++v) row[v] = exp_fixed(row[v] - top);
    const float sum = lane_sum(vocabulary, [&](std::int64_t v) { return row[v]; });
    total += std::log(static_cast<double>(sum)) - (1.0 - static_cast<double>(smoothing)) * static_cast<double>(target) -
             static_cast<double>(smoothing) * static_cast<double>(mean);
    if (g_scale == 0.0F) continue;
    const float scale = g_scale / sum;
    const float base = uniform * g_scale;
    for (std::int64_t v = 0; v < vocabulary; ++v) row[v] = row[v] * scale - base;
    row[label] -= (1.0F - smoothing) * g_scale;
  }
  return total;
}

}  // namespace th::model
