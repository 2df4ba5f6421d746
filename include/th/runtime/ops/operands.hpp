#pragma once

#include <cstdint>

#include "th/base/dropout.hpp"
#include "th/runtime/ops/activation.hpp"
#include "th/runtime/ops/attention.hpp"
#include "th/runtime/ops/block_spans.hpp"
#include "th/runtime/ops/op_table.hpp"
#include "th/runtime/ops/rotation_rule.hpp"
#include "th/runtime/ops/score_rule.hpp"

// The model's ops, each as the struct of its operands: elements T are float, Bf16 or Fp16
// (th/base/half_float.hpp), buffers are contiguous and in the memory of one device. Arithmetic and
// sums are fp32; where an operand is a float* whatever T is, it stays fp32. Each result depends on
// its inputs and their indexes alone (one rounding an operation, fixed order), so that the bits are
// the same on every rank. M rows, D columns, B sentences, T queries, S keys, H heads of width K, V
// words.
//
// An op is three files: this one (a struct and its place in the list below), the host's body
// (src/model/ops) and the device's (src/cuda/kernels/bodies).
namespace th::op {

using Count = std::int64_t;

/// y[i] = x[i] + dropout(s[i]); y may be x or s.
template <typename T>
struct AddDropout {
  const T *x = nullptr, *s = nullptr;
  T* y = nullptr;
  Count count = 0;
  Dropout dropout = {};
};

/// out[i] = dropout(x[i]), forward and backward; out may be x.
template <typename T>
struct ApplyDropout {
  const T* x = nullptr;
  T* out = nullptr;
  Count count = 0;
  Dropout dropout = {};
};

/// In place over [M, F]: h = dropout(max(h + bias, 0)).
template <typename T>
struct BiasReluDropout {
  T* h = nullptr;
  const T* bias = nullptr;
  Count rows = 0, columns = 0;
  Dropout dropout = {};
};

/// In place: g = g / (1 - rate) where h > 0 (kept and positive), else 0; h is BiasReluDropout's
/// result.
template <typename T>
struct ReluDropoutBackward {
  const T* h = nullptr;
  T* g = nullptr;
  Count count = 0;
  Dropout dropout = {};
};

/// y[i] = dropout(f(z[i]) * up[i]), f by `kind`; without `up` dropout(f(z[i])). `y` overlaps
/// neither.
template <typename T>
struct Activate {
  const T *z = nullptr, *up = nullptr;
  T* y = nullptr;
  Count count = 0;
  runtime::ActivationKind kind = runtime::ActivationKind::kGelu;
  Dropout dropout = {};
};

/// In place, with d = dropout(g[i]): g[i] = d * f'(z[i]) * up[i] and g_up[i] = d * f(z[i]); without
/// `up` g[i] = d * f'(z[i]). `g_up` overlaps none of the others.
template <typename T>
struct ActivateBackward {
  const T *z = nullptr, *up = nullptr;
  T *g = nullptr, *g_up = nullptr;
  Count count = 0;
  runtime::ActivationKind kind = runtime::ActivationKind::kGelu;
  Dropout dropout = {};
};

/// out[d] += the sum of x[m, d] over rows, in their order on the host.
template <typename T>
struct AddColumnSums {
  const T* x = nullptr;
  float* out = nullptr;
  Count rows = 0, columns = 0;
};

/// y[i] += x[i], rounded to T.
template <typename T>
struct AddTo {
  T* y = nullptr;
  const T* x = nullptr;
  Count count = 0;
};

/// y[i] += x[i] in fp32.
template <typename T>
struct Accumulate {
  float* y = nullptr;
  const T* x = nullptr;
  Count count = 0;
};

/// y[i] = x[i] in fp32.
template <typename T>
struct Widen {
  const T* x = nullptr;
  float* y = nullptr;
  Count count = 0;
};

/// y[i] = x[i], rounded to T.
template <typename T>
struct Narrow {
  const float* x = nullptr;
  T* y = nullptr;
  Count count = 0;
};

/// Layer normalisation (Ba, Kiros, Hinton 2016): y = (x - mean) / sqrt(var + eps) * gamma + beta
/// over rows of [M, D]; mean and rstd [M] are for the backward pass.
template <typename T>
struct LayerNorm {
  const T *x = nullptr, *gamma = nullptr, *beta = nullptr;
  T* y = nullptr;
  float *mean = nullptr, *rstd = nullptr;
  Count rows = 0, columns = 0;
  float eps = 1e-5F;
};

/// g_x [M, D] is written and may be g; g_gamma and g_beta [D] are added to.
template <typename T>
struct LayerNormBackward {
  const T *g = nullptr, *x = nullptr, *gamma = nullptr;
  const float *mean = nullptr, *rstd = nullptr;
  T* g_x = nullptr;
  float *g_gamma = nullptr, *g_beta = nullptr;
  Count rows = 0, columns = 0;
};

/// RMSNorm (Zhang, Sennrich 2019): y = x / sqrt(mean(x^2) + eps) * gamma over each of `groups` (the
/// heads of a projection, or 1) times D = columns neighbouring columns of rows [M, stride]. y has
/// the places of x and may be x, whose values then go to `kept` [M, groups, D] first, unless that
/// is null. rstd [M, groups] is for the backward pass, gamma [D] serves all groups.
template <typename T>
struct RmsNorm {
  const T *x = nullptr, *gamma = nullptr;
  T *y = nullptr, *kept = nullptr;
  float* rstd = nullptr;
  Count rows = 0, groups = 1, columns = 0, stride = 0;
  float eps = 1e-5F;
};

/// From RmsNorm's x, as rows [M, groups, D] without gaps. g and g_x have the places of RmsNorm's
/// rows; g_x is written and may be g; g_gamma [D] is added to, rows in order, groups within a row.
template <typename T>
struct RmsNormBackward {
  const T *g = nullptr, *x = nullptr, *gamma = nullptr;
  const float* rstd = nullptr;
  T* g_x = nullptr;
  float* g_gamma = nullptr;
  Count rows = 0, groups = 1, columns = 0, stride = 0;
};

/// out[m, k] = dropout(x[m, k]) of scores of blocks [rows, S], forward and backward, by the draws
/// of `blocks`; out may be x.
template <typename T>
struct DropScores {
  const T* x = nullptr;
  T* out = nullptr;
  Count rows = 0, keys = 0;
  Dropout dropout = {};
  BlockPlaces blocks = {};
};

/// In place softmax over the keys of scores [B*H, T, S] that the rule lets a query see, of the
/// first key_lengths[b] keys (null: all S); every other place gets 0. With spans [B], b is a block
/// of a sentence: its queries and keys are those of the spans, and the sentence has
/// key_spans[b].length keys.
template <typename T>
struct MaskedSoftmax {
  T* scores = nullptr;
  const std::int32_t* key_lengths = nullptr;
  runtime::ScoreRule rule = {};
  Count batch = 0, heads = 0, queries = 0, keys = 0;
  const RowSpan *query_spans = nullptr, *key_spans = nullptr;  ///< null: whole sentences

  /// What query t of b sees, as places of its row of scores.
  [[nodiscard]] TH_HOST_DEVICE runtime::PositionRange seen(Count b, Count t) const {
    if (key_spans == nullptr) return rule.keys(t, key_lengths != nullptr ? key_lengths[b] : keys);
    const RowSpan& of_keys = key_spans[b];
    const runtime::PositionRange range = rule.keys(query_spans[b].position + t, of_keys.length);
    const auto within = [&](Count key) {
      const Count place = key - of_keys.position;
      return place < 0 ? 0 : (place < of_keys.count ? place : of_keys.count);
    };
    return {within(range.begin), within(range.end)};
  }
  /// What is added to the score of query t and key place k of b.
  [[nodiscard]] TH_HOST_DEVICE float bias(Count b, Count head, Count t, Count k) const {
    if (key_spans == nullptr) return rule.bias(head, t, k);
    return rule.bias(head, query_spans[b].position + t, key_spans[b].position + k);
  }
  /// Whether query t of b sees the key of place k, one of seen().
  [[nodiscard]] TH_HOST_DEVICE bool sees(Count b, Count t, Count k) const {
    if (key_spans == nullptr) return rule.sees(t, k);
    return rule.sees(query_spans[b].position + t, key_spans[b].position + k);
  }
};

/// In place over g [rows, S]: g = p * (d - sum_s p d), d = dropout(g), which draws by place in g
/// or, of scores of blocks, as DropScores.
template <typename T>
struct SoftmaxDropoutBackward {
  const T* p = nullptr;
  T* g = nullptr;
  Count rows = 0, keys = 0;
  Dropout dropout = {};
  BlockPlaces blocks = {};

  /// The draw of the first key of row m.
  [[nodiscard]] TH_HOST_DEVICE Count first_draw(Count m) const {
    return blocks.query_spans == nullptr ? m * keys : blocks.first(m);
  }
};

/// H*K columns of packed rows [M, stride], sentence b in rows [offsets[b], offsets[b+1]) of x, to
/// out [B, H, L, K], times `scale`; zeros beyond a sentence's end. No sentence is longer than L.
/// With spans [B], b is the rows of spans[b] in place of a sentence.
template <typename T>
struct SplitHeads {
  const T* x = nullptr;
  const std::int64_t* offsets = nullptr;
  T* out = nullptr;
  Count batch = 0, length = 0, heads = 0, width = 0, stride = 0;
  float scale = 1;
  const RowSpan* spans = nullptr;

  [[nodiscard]] TH_HOST_DEVICE Count first_row(Count b) const {
    return spans != nullptr ? spans[b].row : offsets[b];
  }
  [[nodiscard]] TH_HOST_DEVICE Count rows(Count b) const {
    return spans != nullptr ? spans[b].count : offsets[b + 1] - offsets[b];
  }
};

/// The inverse of SplitHeads: h [B, H, L, K] into the columns of x, or added to them; what lies
/// beyond a sentence's end is left out. Spans of one call have no row in common.
template <typename T>
struct MergeHeads {
  const T* h = nullptr;
  const std::int64_t* offsets = nullptr;
  T* x = nullptr;
  Count batch = 0, length = 0, heads = 0, width = 0, stride = 0;
  float scale = 1;
  const RowSpan* spans = nullptr;
  bool add = false;  ///< to what is in x

  [[nodiscard]] TH_HOST_DEVICE Count first_row(Count b) const {
    return spans != nullptr ? spans[b].row : offsets[b];
  }
  [[nodiscard]] TH_HOST_DEVICE Count rows(Count b) const {
    return spans != nullptr ? spans[b].count : offsets[b + 1] - offsets[b];
  }
};

/// In place over H*K columns of packed rows [M, stride]: the rule turns each head's pairs of
/// columns by the row's place. An odd width's last column stays.
template <typename T>
struct RotatePositions {
  T* x = nullptr;
  const std::int32_t* places = nullptr;
  runtime::RotationRule rule = {};
  runtime::RotationRule::Direction direction = runtime::RotationRule::Direction::kForward;
  Count rows = 0, heads = 0, width = 0, stride = 0;
};

/// y[m, :] = x[rows[m], :] of `count` rows of D = width, of which no two are one.
template <typename T>
struct TakeRows {
  const T* x = nullptr;
  const std::int64_t* rows = nullptr;
  T* y = nullptr;
  Count count = 0, width = 0;
};

/// The inverse of TakeRows: y[rows[m], :] = x[m, :]; other rows of y stay.
template <typename T>
struct SpreadRows {
  const T* x = nullptr;
  const std::int64_t* rows = nullptr;
  T* y = nullptr;
  Count count = 0, width = 0;
};

/// y[m, :] = dropout(weight[ids[m], :] * scale + position[places[m], :]), rows of D = width. Where
/// ids[m] is `zero_id`, zeros stand in place of the weight's row. `position` null: nothing is
/// added.
template <typename T>
struct Embed {
  const T* weight = nullptr;
  const std::int64_t* ids = nullptr;
  const float* position = nullptr;
  const std::int32_t* places = nullptr;
  T* y = nullptr;
  Count rows = 0, width = 0;
  float scale = 1;
  Dropout dropout = {};
  std::int64_t zero_id = -1;
};

/// g_weight[ids[m], :] += dropout(g[m, :]) * scale, rows in order; padding ids and `zero_id` are
/// left out.
template <typename T>
struct EmbedBackward {
  const T* g = nullptr;
  const std::int64_t* ids = nullptr;
  float* g_weight = nullptr;
  Count rows = 0, width = 0;
  float scale = 1;
  Dropout dropout = {};
  std::int64_t zero_id = -1;
};

/// g_position[t, :] += dropout(g[m, :]) for place t of each sentence, in their order: sentence b
/// has the rows m of g [M, D] from offsets[b] to below offsets[b + 1]. `length` is that of the
/// longest.
template <typename T>
struct PositionsBackward {
  const T* g = nullptr;
  const std::int64_t* offsets = nullptr;
  float* g_position = nullptr;
  Count batch = 0, length = 0, width = 0;
  Dropout dropout = {};
};

/// Softmax cross entropy over logits [M, V] with label smoothing e (Szegedy et al. 2016):
/// row_losses[m] = -(1-e) log p[label] - e/V sum_v log p[v] in fp64, 0 where the label is padding.
/// `bias` [V] or null is added to each row first. With g_scale != 0 the logits are replaced by
/// their gradient times g_scale; without it what a bias leaves in them is not defined.
template <typename T>
struct CrossEntropy {
  T* logits = nullptr;
  const std::int64_t* labels = nullptr;
  double* row_losses = nullptr;
  const T* bias = nullptr;
  Count rows = 0, vocabulary = 0;
  float smoothing = 0, g_scale = 0;
};

/// *out += x[0] + … + x[count-1], added in order.
template <typename T>
struct AddTotal {
  const double* x = nullptr;
  double* out = nullptr;
  Count count = 0;
};

}  // namespace th::op

namespace th::runtime {

/// The model's ops for elements T on one device, which enqueues them on the stream of a call and
/// waits for nothing. The same bits on every device except where a GPU adds in another order, which
/// is always the same: sums over rows (AddColumnSums, g_gamma and g_beta of norms), over
/// rows of whole packs (LayerNorm), over a vocabulary (CrossEntropy), and attention in one kernel.
/// Attention may be missing (has()): on a processor without its instructions, for fp32 on a GPU, on
/// a stand-in and on a GPU whose blocks have less memory. Ops throw DeviceError when a launch
/// fails.
template <typename T>
using OpTable =
    OpTableOf<op::AddDropout<T>, op::ApplyDropout<T>, op::BiasReluDropout<T>,
              op::ReluDropoutBackward<T>, op::Activate<T>, op::ActivateBackward<T>, op::RmsNorm<T>,
              op::RmsNormBackward<T>, op::PositionsBackward<T>, op::AddColumnSums<T>, op::AddTo<T>,
              op::Accumulate<T>, op::Widen<T>, op::Narrow<T>, op::LayerNorm<T>,
              op::LayerNormBackward<T>, op::MaskedSoftmax<T>, op::SoftmaxDropoutBackward<T>,
              op::SplitHeads<T>, op::MergeHeads<T>, op::RotatePositions<T>, op::TakeRows<T>,
              op::SpreadRows<T>, op::Embed<T>, op::EmbedBackward<T>, op::CrossEntropy<T>,
              op::AddTotal<T>, op::Attention<T>, op::AttentionBackward<T>, op::DropScores<T>>;

}  // namespace th::runtime
