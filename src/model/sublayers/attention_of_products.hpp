#pragma once

#include <cmath>

#include "model/sublayers/attention.hpp"

namespace th::model {

/// Attention by matrix products of groups of sentences, which are padded to the group's longest:
/// the moves between packed rows [M, columns] and heads [B*H, T, K] of each group, and products,
/// softmax and draws group by group. Under a local rule the groups are of blocks of sentences, so
/// no matrix of a whole sentence's scores is made.
class AttentionOfProducts {
 public:
  AttentionOfProducts(const PassContext& context, const AttentionSite& site, std::int64_t width)
      : context_(context),
        site_(site),
        width_(width),
        heads_(context.heads),
        head_width_(width / context.heads),
        groups_(site.blocks.empty() ? site.groups : site.blocks) {}

  /// The tape's q from the first D columns of projected rows, times 1/sqrt(K).
  void take_queries(const at::Tensor& projected, AttentionTape& tape) const;
  /// The tape's k and v from the last 2D columns of projected rows.
  void take_keys(const at::Tensor& projected, AttentionTape& tape) const;
  /// softmax of the scores, group after group [B*H, T, S].
  [[nodiscard]] at::Tensor probabilities(const AttentionTape& tape) const;
  /// The probabilities after their draws.
  [[nodiscard]] at::Tensor dropped(const at::Tensor& probabilities) const;
  /// The heads' results as packed rows [M, D].
  [[nodiscard]] at::Tensor merged(const at::Tensor& dropped, const at::Tensor& v) const;

  /// Gradients of the projected rows: q, k and v in `q`, or k and v in `kv`.
  struct Gradients {
    at::Tensor q, kv;
  };
  /// From that of the packed result [M, D]; `dropped` is given up when it is not needed any more.
  [[nodiscard]] Gradients backward(const AttentionTape& tape, const at::Tensor& probabilities,
                                   at::Tensor dropped, const at::Tensor& g_merged, bool self) const;

 private:
  enum class Side { kQueries, kKeys };
  struct Views;

  /// Of the queries.
  [[nodiscard]] float scale() const { return 1.0F / std::sqrt(static_cast<float>(head_width_)); }
  [[nodiscard]] static std::int64_t length(Side side, const AttentionGroup& group) {
    return side == Side::kQueries ? group.queries : group.keys;
  }
  [[nodiscard]] const std::int64_t* offsets(Side side, const AttentionGroup& group) const {
    return (side == Side::kQueries ? site_.query_offsets : site_.key_offsets) + group.first;
  }
  /// Of blocks; null where the group is of whole sentences.
  [[nodiscard]] const op::RowSpan* spans(Side side, const AttentionGroup& group) const {
    if (site_.blocks.empty()) return nullptr;
    return (side == Side::kQueries ? site_.query_spans : site_.key_spans) + group.first;
  }
  /// Of blocks' scores.
  [[nodiscard]] op::BlockPlaces places(const AttentionGroup& group) const;
  [[nodiscard]] at::Tensor split(const at::Tensor& packed, std::int64_t column, Side side,
                                 float factor) const;
  void merge(const at::Tensor& from, at::Tensor& packed, std::int64_t column, Side side,
             float factor) const;
  /// q k^T of each group, [B*H, T, S] each.
  [[nodiscard]] at::Tensor scores(const at::Tensor& q, const at::Tensor& k) const;
  /// p v of each group, [B*H, T, K] each.
  [[nodiscard]] at::Tensor weighted(const at::Tensor& p, const at::Tensor& v) const;
  /// p^T x of each group, [B*H, S, K] each.
  [[nodiscard]] at::Tensor weighted_keys(const at::Tensor& p, const at::Tensor& x) const;
  /// In place: the scores' gradient from that of the dropped probabilities.
  void softmax_backward(const at::Tensor& p, at::Tensor& g_scores) const;

  /// Room for `cells` of each sentence and head, group after group.
  template <typename Cells>
  [[nodiscard]] at::Tensor flat(const at::Tensor& like, const Cells& cells) const;
  [[nodiscard]] at::Tensor rows(const at::Tensor& like, Side side) const;
  /// Calls work(Views) for each group.
  template <typename Work>
  void each_group(const Work& work) const;
  /// Calls kernel(kernels, scores of the group, group, its number).
  template <typename Kernel>
  void each_scores(const at::Tensor& p, const Kernel& kernel) const;

  const PassContext& context_;
  const AttentionSite& site_;
  std::int64_t width_, heads_, head_width_;
  std::span<const AttentionGroup> groups_;  ///< of sentences, or of their blocks
};

}  // namespace th::model
