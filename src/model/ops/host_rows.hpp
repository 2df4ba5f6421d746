#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "model/ops/row_math.hpp"
#include "th/base/dropout.hpp"
#include "th/base/half_float.hpp"
#include "th/base/vector_math.hpp"
#include "th/runtime/ops/operands.hpp"

// The host's bodies of ops on rows, for one instruction set. Sums over a row are lane_sum's, sums
// over rows are added in their order. Operands come by value, as in host_elements.hpp. Where the
// compiler has to know that results do not overlap, a function with __restrict parameters says so.
namespace th::model::TH_ISA {

using op::Count;

template <typename T>
[[gnu::noinline, gnu::flatten]] static void add_column_sums(const T* __restrict x,
                                                            float* __restrict out, Count rows,
                                                            Count columns) {
  constexpr Count kRows = 4;  // taken together: `out` is read and written once for them
  Count m = 0;
  for (; m + kRows <= rows; m += kRows) {
    const T* row = x + m * columns;
    for (Count d = 0; d < columns; ++d) {
      out[d] = (((out[d] + to_float(row[d])) + to_float(row[columns + d])) +
                to_float(row[2 * columns + d])) +
               to_float(row[3 * columns + d]);
    }
  }
  for (; m < rows; ++m) {
    const T* row = x + m * columns;
    for (Count d = 0; d < columns; ++d) out[d] += to_float(row[d]);
  }
}

template <typename T>
void compute(op::AddColumnSums<T> o) {
  add_column_sums(o.x, o.out, o.rows, o.columns);
}

template <typename T>
void compute(op::LayerNorm<T> o) {
  const float inverse = 1.0F / static_cast<float>(o.columns);
  for (Count m = 0; m < o.rows; ++m) {
    const T* in = o.x + m * o.columns;
    T* out = o.y + m * o.columns;
    const float mu = lane_sum(o.columns, [&](Count d) { return to_float(in[d]); }) * inverse;
    const float variance =
        lane_sum(o.columns,
                 [&](Count d) { return (to_float(in[d]) - mu) * (to_float(in[d]) - mu); }) *
        inverse;
    const float r = 1.0F / std::sqrt(variance + o.eps);
    for (Count d = 0; d < o.columns; ++d) {
      out[d] =
          from_float<T>((to_float(in[d]) - mu) * r * to_float(o.gamma[d]) + to_float(o.beta[d]));
    }
    o.mean[m] = mu;
    o.rstd[m] = r;
  }
}

/// The three results do not overlap. This is a function of its own, because the compiler forgets
/// __restrict of what it inlines and then checks each row for overlaps.
template <typename T>
[[gnu::noinline]] static void layer_norm_backward(const T* g, const op::LayerNormBackward<T>& o,
                                                  T* __restrict g_x, float* __restrict g_gamma,
                                                  float* __restrict g_beta) {
  const T *x = o.x, *gamma = o.gamma;
  const float *mean = o.mean, *rstd = o.rstd;
  const Count rows = o.rows, columns = o.columns;
  const float inverse = 1.0F / static_cast<float>(columns);
  for (Count m = 0; m < rows; ++m) {
    const T* go = g + m * columns;
    const T* in = x + m * columns;
    T* gi = g_x + m * columns;
    const float mu = mean[m];
    const float r = rstd[m];
    const float a =
        lane_sum(columns, [&](Count d) { return to_float(go[d]) * to_float(gamma[d]); }) * inverse;
    const float b =
        lane_sum(columns,
                 [&](Count d) {
                   return to_float(go[d]) * to_float(gamma[d]) * ((to_float(in[d]) - mu) * r);
                 }) *
        inverse;
    for (Count d = 0; d < columns; ++d) {
      const float hat = (to_float(in[d]) - mu) * r;
      const float out = to_float(go[d]);
      g_gamma[d] += out * hat;
      g_beta[d] += out;
      gi[d] = from_float<T>((out * to_float(gamma[d]) - a - hat * b) * r);
    }
  }
}

template <typename T>
void compute(op::LayerNormBackward<T> o) {
  layer_norm_backward(o.g, o, o.g_x, o.g_gamma, o.g_beta);
}

template <typename T>
void compute(op::RmsNorm<T> o) {
  const float inverse = 1.0F / static_cast<float>(o.columns);
  for (Count row = 0; row < o.rows * o.groups; ++row) {
    const Count first = row / o.groups * o.stride + row % o.groups * o.columns;
    const T* in = o.x + first;
    T* out = o.y + first;
    if (o.kept != nullptr) {
      std::memcpy(static_cast<void*>(o.kept + row * o.columns), in,
                  static_cast<std::size_t>(o.columns) * sizeof(T));
    }
    const float square =
        lane_sum(o.columns, [&](Count d) { return to_float(in[d]) * to_float(in[d]); }) * inverse;
    const float r = 1.0F / std::sqrt(square + o.eps);
    for (Count d = 0; d < o.columns; ++d)
      out[d] = from_float<T>(to_float(in[d]) * r * to_float(o.gamma[d]));
    o.rstd[row] = r;
  }
}

template <typename T>
void compute(op::RmsNormBackward<T> o) {
  const float inverse = 1.0F / static_cast<float>(o.columns);
  for (Count row = 0; row < o.rows * o.groups; ++row) {
    const Count first = row / o.groups * o.stride + row % o.groups * o.columns;
    const T *go = o.g + first, *in = o.x + row * o.columns;
    T* gi = o.g_x + first;
    const float r = o.rstd[row];
    const float b =
        lane_sum(o.columns,
                 [&](Count d) {
                   return to_float(go[d]) * to_float(o.gamma[d]) * (to_float(in[d]) * r);
                 }) *
        inverse;
    for (Count d = 0; d < o.columns; ++d) {
      const float hat = to_float(in[d]) * r, out = to_float(go[d]);
      o.g_gamma[d] += out * hat;
      gi[d] = from_float<T>((out * to_float(o.gamma[d]) - hat * b) * r);
    }
  }
}

/// Softmax over the keys [seen.begin, seen.end) of a row of `keys` scores; zeros in every other
/// place.
template <typename T>
static inline void softmax_of_seen(T* row, runtime::PositionRange seen, Count keys) {
  softmax_row(row + seen.begin, seen.end - seen.begin);
  for (Count k = 0; k < seen.begin; ++k) row[k] = T{};
  for (Count k = seen.end; k < keys; ++k) row[k] = T{};
}

/// Of whole sentences, with nothing added, under a rule whose kind the compiler knows.
template <runtime::ScoreRule::Kind kKind, typename T>
static void softmax_of_sentences(const op::MaskedSoftmax<T>& o) {
  runtime::ScoreRule rule = o.rule;
  rule.kind = kKind;
  T* row = o.scores;
  for (Count b = 0; b < o.batch; ++b) {
    const Count real = o.key_lengths != nullptr ? o.key_lengths[b] : o.keys;
    for (Count h = 0; h < o.heads; ++h) {
      for (Count t = 0; t < o.queries; ++t, row += o.keys)
        softmax_of_seen(row, rule.keys(t, real), o.keys);
    }
  }
}

template <typename T>
void compute(op::MaskedSoftmax<T> o) {
  using Kind = runtime::ScoreRule::Kind;
  if (o.key_spans == nullptr && !o.rule.biased()) {
    if (o.rule.kind == Kind::kFull) return softmax_of_sentences<Kind::kFull>(o);
    if (o.rule.kind == Kind::kCausal) return softmax_of_sentences<Kind::kCausal>(o);
  }
  T* row = o.scores;
  for (Count b = 0; b < o.batch; ++b) {
    for (Count h = 0; h < o.heads; ++h) {
      for (Count t = 0; t < o.queries; ++t, row += o.keys) {
        const runtime::PositionRange seen = o.seen(b, t);
        if (o.rule.biased()) {
          for (Count k = seen.begin; k < seen.end; ++k)
            row[k] = from_float<T>(to_float(row[k]) + o.bias(b, h, t, k));
        }
        softmax_of_seen(row, seen, o.keys);
        if (o.rule.gaps()) {
          for (Count k = seen.begin; k < seen.end; ++k)
            if (!o.sees(b, t, k)) row[k] = T{};
        }
      }
    }
  }
}

template <typename T>
void compute(op::SoftmaxDropoutBackward<T> o) {
  const DropoutDraws draws(o.dropout);
  const Count keys = o.keys;
  for (Count m = 0; m < o.rows; ++m) {
    const T* pr = o.p + m * keys;
    T* gr = o.g + m * keys;
    const Count first = o.first_draw(m);
    if (o.dropout.rate == 0.0F) {
      const float dot = lane_sum(keys, [&](Count k) { return to_float(pr[k]) * to_float(gr[k]); });
      for (Count k = 0; k < keys; ++k)
        gr[k] = from_float<T>(to_float(pr[k]) * (to_float(gr[k]) - dot));
    } else if constexpr (std::is_same_v<T, float>) {
      for (Count k = 0; k < keys; ++k)
        gr[k] = from_float<T>(to_float(gr[k]) * draws.factor(first + k));
      const float dot = lane_sum(keys, [&](Count k) { return to_float(pr[k]) * to_float(gr[k]); });
      for (Count k = 0; k < keys; ++k)
        gr[k] = from_float<T>(to_float(pr[k]) * (to_float(gr[k]) - dot));
    } else {  // drawn again rather than rounded in between
      const float dot = lane_sum(keys, [&](Count k) {
        return to_float(pr[k]) * (to_float(gr[k]) * draws.factor(first + k));
      });
      for (Count k = 0; k < keys; ++k) {
        gr[k] = from_float<T>(to_float(pr[k]) * (to_float(gr[k]) * draws.factor(first + k) - dot));
      }
    }
  }
}

template <typename T>
void compute(op::DropScores<T> o) {
  const DropoutDraws draws(o.dropout);
  for (Count m = 0; m < o.rows; ++m) {
    const T* from = o.x + m * o.keys;
    T* to = o.out + m * o.keys;
    const Count first = o.blocks.first(m);
    for (Count k = 0; k < o.keys; ++k)
      to[k] = from_float<T>(to_float(from[k]) * draws.factor(first + k));
  }
}

/// The loss of one row; the row becomes its gradient where o.g_scale is not 0.
template <typename T>
static inline double row_loss(const op::CrossEntropy<T>& o, T* row, Count label) {
  const Count vocabulary = o.vocabulary;
  const float top = row_maximum(row, vocabulary);
  const float target = to_float(row[label]) - top;
  const float mean = o.smoothing == 0.0F ? 0.0F : lane_sum(vocabulary, [&](Count v) {
                                                    return to_float(row[v]) - top;
                                                  }) / static_cast<float>(vocabulary);
  constexpr bool kInPlace =
      std::is_same_v<T, float>;  // else exponentials again rather than rounded in between
  if constexpr (kInPlace) {
    for (Count v = 0; v < vocabulary; ++v)
      row[v] = from_float<T>(exp_fixed(to_float(row[v]) - top));
  }
  const auto exponential = [&](Count v) {
    if constexpr (kInPlace) {
      return to_float(row[v]);
    } else {
      return exp_fixed(to_float(row[v]) - top);
    }
  };
  const float sum = lane_sum(vocabulary, exponential);
  const double loss = std::log(static_cast<double>(sum)) -
                      (1.0 - static_cast<double>(o.smoothing)) * static_cast<double>(target) -
                      static_cast<double>(o.smoothing) * static_cast<double>(mean);
  if (o.g_scale == 0.0F) return loss;
  const float scale = o.g_scale / sum;
  const float base = o.smoothing / static_cast<float>(vocabulary) * o.g_scale;
  const float at_label = exponential(label) * scale - base - (1.0F - o.smoothing) * o.g_scale;
  for (Count v = 0; v < vocabulary; ++v) row[v] = from_float<T>(exponential(v) * scale - base);
  row[label] = from_float<T>(at_label);
  return loss;
}

template <typename T>
void compute(op::CrossEntropy<T> o) {
  for (Count m = 0; m < o.rows; ++m) {
    T* row = o.logits + m * o.vocabulary;
    const Count label = o.labels[m];
    if (label == 0) {
      if (o.g_scale != 0.0F) {
        std::memset(static_cast<void*>(row), 0, static_cast<std::size_t>(o.vocabulary) * sizeof(T));
      }
      o.row_losses[m] = 0;
      continue;
    }
    if (o.bias != nullptr) {
      for (Count v = 0; v < o.vocabulary; ++v)
        row[v] = from_float<T>(to_float(row[v]) + to_float(o.bias[v]));
    }
    o.row_losses[m] = row_loss(o, row, label);
  }
}

template <typename T>
void compute(op::AddTotal<T> o) {
  double total = 0;
  for (Count i = 0; i < o.count; ++i) total += o.x[i];
  *o.out += total;
}

}  // namespace th::model::TH_ISA
