#pragma once

#include <cmath>
#include <cstdint>

#include "cuda/kernels/bodies/element_bodies.hpp"
#include "th/base/dropout.hpp"
#include "th/base/half_float.hpp"
#include "th/base/host_device.hpp"
#include "th/base/vector_math.hpp"
#include "th/runtime/ops/operands.hpp"

// The device's bodies of ops on rows whose sums lanes share: body(row, lanes). `lanes` is RowLanes,
// PackedLanes or BlockLanes on a GPU and HostLanes in tests; with 16 lanes sums have the bits of
// the CPU's lane_sum. A lane reads what it wrote itself, unless meet() stands between. Rows that
// are read several times come by lanes.row(), value k of a lane being that of column d. Sums over
// rows: body.add<N>(row, column, sums) and body.write(column, sums). nvcc compiles each body for
// both sides; the host's half is instantiated with HostLanes alone.
namespace th::cuda {

template <typename T>
struct LayerNormBody {
  using Element = T;
  op::LayerNorm<T> o;
  std::int64_t columns;
  [[nodiscard]] bool packs() const { return aligned(o.x, o.gamma, o.beta, o.y); }
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    const float inverse = 1.0F / static_cast<float>(columns);
    const auto in = lanes.row(o.x + m * columns), scale = lanes.row(o.gamma),
               shift = lanes.row(o.beta);
    const float mu =
        lanes.sum_row(columns, [&](int k, std::int64_t d) { return in.at(k, d); }) * inverse;
    const float variance = lanes.sum_row(columns, [&](int k, std::int64_t d) {
      return (in.at(k, d) - mu) * (in.at(k, d) - mu);
    }) * inverse;
    const float r = 1.0F / sqrtf(variance + o.eps);
    lanes.store_row(o.y + m * columns, columns, [&](int k, std::int64_t d) {
      return (in.at(k, d) - mu) * r * scale.at(k, d) + shift.at(k, d);
    });
    if (!lanes.first()) return;
    o.mean[m] = mu;
    o.rstd[m] = r;
  }
};
template <typename Launch, typename T>
void launch(const op::LayerNorm<T>& o, void* stream) {
  Launch::kept_rows("layer_norm", o.rows, LayerNormBody<T>{o, o.columns}, stream);
}

/// The input's gradient, a row.
template <typename T>
struct LayerNormInputGradient {
  using Element = T;
  op::LayerNormBackward<T> o;
  std::int64_t columns;
  [[nodiscard]] bool packs() const { return aligned(o.g, o.x, o.gamma, o.g_x); }
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    const float inverse = 1.0F / static_cast<float>(columns);
    const auto go = lanes.row(o.g + m * columns), in = lanes.row(o.x + m * columns),
               scale = lanes.row(o.gamma);
    const float mu = o.mean[m], r = o.rstd[m];
    const auto hat = [&](int k, std::int64_t d) { return (in.at(k, d) - mu) * r; };
    const float a = lanes.sum_row(columns, [&](int k, std::int64_t d) {
      return go.at(k, d) * scale.at(k, d);
    }) * inverse;
    const float b = lanes.sum_row(columns, [&](int k, std::int64_t d) {
      return go.at(k, d) * scale.at(k, d) * hat(k, d);
    }) * inverse;
    lanes.store_row(o.g_x + m * columns, columns, [&](int k, std::int64_t d) {
      return (go.at(k, d) * scale.at(k, d) - a - hat(k, d) * b) * r;
    });
  }
};

/// The gradients of gamma and beta, a column each.
template <typename T>
struct LayerNormParameterGradient {
  static constexpr int kSums = 2, kPack = kPackOf<T>;
  op::LayerNormBackward<T> o;
  std::int64_t rows, columns;
  [[nodiscard]] bool packs() const { return aligned(o.g, o.x) && columns % kPack == 0; }
  template <int N>
  TH_HOST_DEVICE void add(std::int64_t m, std::int64_t d, float (&sums)[kSums][N]) const {
    const Pack<T, N> of_g = load<N>(o.g + m * columns + d), of_x = load<N>(o.x + m * columns + d);
    const float mu = o.mean[m], r = o.rstd[m];
    for (int j = 0; j < N; ++j) {
      sums[0][j] += to_float(of_g.at[j]) * ((to_float(of_x.at[j]) - mu) * r);
      sums[1][j] += to_float(of_g.at[j]);
    }
  }
  TH_HOST_DEVICE void write(std::int64_t d, int which, float sum) const {
    (which == 0 ? o.g_gamma : o.g_beta)[d] += sum;
  }
};
template <typename Launch, typename T>
void launch(const op::LayerNormBackward<T>& o, void* stream) {
  // The columns first: g_x may be g.
  Launch::columns("layer_norm_backward", LayerNormParameterGradient<T>{o, o.rows, o.columns},
                  stream);
  Launch::kept_rows("layer_norm_backward", o.rows, LayerNormInputGradient<T>{o, o.columns}, stream);
}

/// Row `row` of RmsNorm's M * groups.
template <typename Operands>
TH_HOST_DEVICE std::int64_t first_of_group(const Operands& o, std::int64_t row) {
  const Division at = divide(row, o.groups);
  return at.quotient * o.stride + at.remainder * o.columns;
}

template <typename T>
struct RmsNormBody {
  op::RmsNorm<T> o;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t row, const Lanes& lanes) const {
    const std::int64_t first = first_of_group(o, row);
    const T* in = o.x + first;
    T* out = o.y + first;
    const float square = lanes.template sum<float>(o.columns, [&](std::int64_t d) {
      return to_float(in[d]) * to_float(in[d]);
    }) * (1.0F / static_cast<float>(o.columns));
    const float r = 1.0F / sqrtf(square + o.eps);
    lanes.each(o.columns, [&](std::int64_t d) {
      const T value = in[d];
      if (o.kept != nullptr) o.kept[row * o.columns + d] = value;
      out[d] = from_float<T>(to_float(value) * r * to_float(o.gamma[d]));
    });
    if (lanes.first()) o.rstd[row] = r;
  }
};
template <typename Launch, typename T>
void launch(const op::RmsNorm<T>& o, void* stream) {
  Launch::rows("rms_norm", o.rows * o.groups, RmsNormBody<T>{o}, stream);
}

/// The input's gradient, a row of a group.
template <typename T>
struct RmsNormInputGradient {
  op::RmsNormBackward<T> o;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t row, const Lanes& lanes) const {
    const std::int64_t first = first_of_group(o, row);
    const T *go = o.g + first, *in = o.x + row * o.columns;
    const float r = o.rstd[row];
    const float b = lanes.template sum<float>(o.columns, [&](std::int64_t d) {
      return to_float(go[d]) * to_float(o.gamma[d]) * (to_float(in[d]) * r);
    }) * (1.0F / static_cast<float>(o.columns));
    lanes.each(o.columns, [&](std::int64_t d) {
      o.g_x[first + d] =
          from_float<T>((to_float(go[d]) * to_float(o.gamma[d]) - to_float(in[d]) * r * b) * r);
    });
  }
};

/// The gradient of gamma, a column of all groups.
template <typename T>
struct RmsNormParameterGradient {
  static constexpr int kSums = 1, kPack = kPackOf<T>;
  op::RmsNormBackward<T> o;
  std::int64_t rows, columns;
  [[nodiscard]] bool packs() const {
    return aligned(o.g, o.x) && columns % kPack == 0 && o.stride % kPack == 0;
  }
  template <int N>
  TH_HOST_DEVICE void add(std::int64_t row, std::int64_t d, float (&sums)[kSums][N]) const {
    const Pack<T, N> of_g = load<N>(o.g + first_of_group(o, row) + d),
                     of_x = load<N>(o.x + row * columns + d);
    for (int j = 0; j < N; ++j)
      sums[0][j] += to_float(of_g.at[j]) * (to_float(of_x.at[j]) * o.rstd[row]);
  }
  TH_HOST_DEVICE void write(std::int64_t d, int, float sum) const { o.g_gamma[d] += sum; }
};
template <typename Launch, typename T>
void launch(const op::RmsNormBackward<T>& o, void* stream) {
  // The columns first: g_x may be g.
  Launch::columns("rms_norm_backward", RmsNormParameterGradient<T>{o, o.rows * o.groups, o.columns},
                  stream);
  Launch::rows("rms_norm_backward", o.rows * o.groups, RmsNormInputGradient<T>{o}, stream);
}

template <typename T>
struct AddColumnSumsBody {
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
template <typename Launch, typename T>
void launch(const op::AddColumnSums<T>& o, void* stream) {
  Launch::columns("add_column_sums", AddColumnSumsBody<T>{o.x, o.out, o.rows, o.columns}, stream);
}

/// Whether exponentials stay in the row between two passes: 16-bit rows would round them, and
/// compute them again.
template <typename T>
inline constexpr bool kKeepsExponentials = sizeof(T) == sizeof(float);

template <typename T>
struct MaskedSoftmaxBody {
  op::MaskedSoftmax<T> o;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t row, const Lanes& lanes) const {
    const std::int64_t sentence = row / (o.heads * o.queries), query = row % o.queries;
    const runtime::PositionRange seen = o.seen(sentence, query);
    const std::int64_t n = seen.end - seen.begin;
    T* all = o.scores + row * o.keys;
    T* s = all + seen.begin;
    if (o.rule.biased()) {
      lanes.each(n, [&](std::int64_t k) {
        s[k] = from_float<T>(to_float(s[k]) +
                             o.bias(sentence, row / o.queries % o.heads, query, seen.begin + k));
      });
    }
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
    if (o.rule.gaps()) {
      lanes.each(n, [&](std::int64_t k) {
        if (!o.sees(sentence, query, seen.begin + k)) s[k] = T{};
      });
    }
    lanes.each(o.keys - n, [&](std::int64_t k) { all[k < seen.begin ? k : n + k] = T{}; });
  }
};
template <typename Launch, typename T>
void launch(const op::MaskedSoftmax<T>& o, void* stream) {
  Launch::rows("masked_softmax", o.batch * o.heads * o.queries, MaskedSoftmaxBody<T>{o}, stream);
}

template <typename T>
struct SoftmaxDropoutBackwardBody {
  op::SoftmaxDropoutBackward<T> o;
  DropoutDraws draws;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    const T* pr = o.p + m * o.keys;
    T* gr = o.g + m * o.keys;
    const bool drops = o.dropout.rate != 0.0F;
    const std::int64_t first = o.first_draw(m);
    const auto dropped = [&](std::int64_t k) {
      return drops ? to_float(gr[k]) * draws.factor(first + k) : to_float(gr[k]);
    };
    const float dot = lanes.template sum<float>(
        o.keys, [&](std::int64_t k) { return to_float(pr[k]) * dropped(k); });
    lanes.each(o.keys, [&](std::int64_t k) {
      gr[k] = from_float<T>(to_float(pr[k]) * (dropped(k) - dot));
    });
  }
};
template <typename Launch, typename T>
void launch(const op::SoftmaxDropoutBackward<T>& o, void* stream) {
  Launch::rows("softmax_dropout_backward", o.rows,
               SoftmaxDropoutBackwardBody<T>{o, DropoutDraws(o.dropout)}, stream);
}

template <typename T>
struct DropScoresBody {
  op::DropScores<T> o;
  DropoutDraws draws;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    const T* from = o.x + m * o.keys;
    T* to = o.out + m * o.keys;
    const std::int64_t first = o.blocks.first(m);
    lanes.each(o.keys, [&](std::int64_t k) {
      to[k] = from_float<T>(to_float(from[k]) * draws.factor(first + k));
    });
  }
};
template <typename Launch, typename T>
void launch(const op::DropScores<T>& o, void* stream) {
  Launch::rows("drop_scores", o.rows, DropScoresBody<T>{o, DropoutDraws(o.dropout)}, stream);
}

/// The first row of an id adds the rows of that id, in their order: no two rows write one place,
/// and the order is the CPU's.
template <typename T>
struct EmbedBackwardBody {
  const T* g;
  const std::int64_t* ids;
  float* g_weight;
  std::int64_t rows, width;
  float scale;
  DropoutDraws draws;
  bool drops;
  std::int64_t zero_id;
  /// Whether rows of an id have no gradient.
  [[nodiscard]] TH_HOST_DEVICE bool skips(std::int64_t id) const {
    return id == 0 || id == zero_id;
  }
  /// What row `row` adds to element d of its id's gradient.
  TH_HOST_DEVICE float term(std::int64_t row, std::int64_t d) const {
    const float of_g = to_float(g[row * width + d]);
    return drops ? of_g * draws.factor(row * width + d) * scale : of_g * scale;
  }
};
template <typename Launch, typename T>
void launch(const op::EmbedBackward<T>& o, void* stream) {
  Launch::ids("embed_backward",
              EmbedBackwardBody<T>{o.g, o.ids, o.g_weight, o.rows, o.width, o.scale,
                                   DropoutDraws(o.dropout), o.dropout.rate != 0.0F, o.zero_id},
              stream);
}

template <typename T>
struct CrossEntropyBody {
  op::CrossEntropy<T> o;
  template <typename Lanes>
  TH_HOST_DEVICE void operator()(std::int64_t m, const Lanes& lanes) const {
    T* row = o.logits + m * o.vocabulary;
    const std::int64_t label = o.labels[m];
    if (label == 0) {
      if (o.g_scale != 0.0F) lanes.each(o.vocabulary, [&](std::int64_t v) { row[v] = T{}; });
      if (lanes.first()) o.row_losses[m] = 0;
      return;
    }
    if (o.bias != nullptr) {
      lanes.each(o.vocabulary, [&](std::int64_t v) {
        row[v] = from_float<T>(to_float(row[v]) + to_float(o.bias[v]));
      });
      lanes.meet();  // every lane reads the label's logit
    }
    const float top = lanes.maximum(o.vocabulary, [&](std::int64_t v) { return to_float(row[v]); });
    const float target = to_float(row[label]) - top;
    const float mean =
        o.smoothing == 0.0F ? 0.0F : lanes.template sum<float>(o.vocabulary, [&](std::int64_t v) {
          return to_float(row[v]) - top;
        }) / static_cast<float>(o.vocabulary);
    lanes.meet();  // every lane has read the label's logit
    if constexpr (kKeepsExponentials<T>) {
      lanes.each(o.vocabulary, [&](std::int64_t v) {
        row[v] = from_float<T>(exp_fixed(to_float(row[v]) - top));
      });
    }
    const auto exponential = [&](std::int64_t v) {
      return kKeepsExponentials<T> ? to_float(row[v]) : exp_fixed(to_float(row[v]) - top);
    };
    const float sum = lanes.template sum<float>(o.vocabulary, exponential);
    if (lanes.first()) {
      o.row_losses[m] = log(static_cast<double>(sum)) -
                        (1.0 - static_cast<double>(o.smoothing)) * static_cast<double>(target) -
                        static_cast<double>(o.smoothing) * static_cast<double>(mean);
    }
    if (o.g_scale == 0.0F) return;
    const float scale = o.g_scale / sum;
    const float base = o.smoothing / static_cast<float>(o.vocabulary) * o.g_scale;
    const float correction = (1.0F - o.smoothing) * o.g_scale;
    lanes.each(o.vocabulary, [&](std::int64_t v) {
      const float gradient = exponential(v) * scale - base;
      row[v] = from_float<T>(v == label ? gradient - correction : gradient);
    });
  }
};
template <typename Launch, typename T>
void launch(const op::CrossEntropy<T>& o, void* stream) {
  Launch::long_rows("cross_entropy", o.rows, CrossEntropyBody<T>{o}, stream);
}

template <typename Launch, typename T>
void launch(const op::AddTotal<T>& o, void* stream) {
  Launch::total("add_total", o.x, o.out, o.count, stream);
}

}  // namespace th::cuda
