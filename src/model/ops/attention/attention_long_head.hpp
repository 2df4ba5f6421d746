#pragma once

#include <algorithm>
#include <cstdint>

#include "model/ops/attention/attention_held_keys.hpp"
#include "model/ops/attention/attention_rows.hpp"
#include "model/ops/attention/attention_scores.hpp"
#include "model/ops/attention/attention_tiles.hpp"

// Attention of long sentences, in blocks of queries and of keys, so that a product's operands are
// in the nearest cache: they are laid in panels of 16 columns, rows one after another, because rows
// of a packed matrix share few of a cache's sets. A block of queries keeps its scores, and no more
// of them than it sees; keys under a local rule are laid out as the queries come to see them. Every
// sum runs in the order of keys (queries, columns), block after block:
// the bits are those of short sentences' Head.
namespace th::model::TH_ISA {

using runtime::kAttentionKeys;

/// One sentence and head: T queries, S keys.
template <typename T>
class LongHead {
 public:
  LongHead(const op::AttentionInputs<T>& in, std::int64_t number, float* scratch)
      : in_(in),
        column_(number % in.heads * in.width),
        width_(runtime::whole_lanes(in.width)),
        query_row_(in.query_offsets[number / in.heads]),
        queries_(in.query_offsets[number / in.heads + 1] - query_row_),
        scratch_(scratch),
        rows_(in.width, scratch_.take(kPanel * width_)),
        keys_(in, keys_of(in, number), queries_, rows_, scratch_),
        most_(runtime::queries_of_block(keys_.count())),
        pitch_(runtime::score_pitch(in.rule, queries_, keys_.count())),
        first_place_(number * in.queries * in.keys),
        p_(scratch_.take(most_ * pitch_)),
        q_(scratch_.take(most_ * width_)),
        room_of_results_(scratch_.take(most_ * width_)) {}

  [[gnu::flatten]] void forward(T* out) {
    keys_.begin();
    const std::int64_t stride = in_.heads * in_.width;
    for (std::int64_t first = 0; first < queries_; first += most_) {
      if (in_.stop != nullptr && (*in_.stop)()) return;
      const ScoreRows s = probabilities_of(first, in_.dropout);
      begin_results(s, out + (query_row_ + first) * stride + column_, stride);
      for (std::int64_t at = 0; at < s.columns; at += kAttentionKeys)
        times_keys(s, block(s, at), p_ + at);
      end_results(s, out + (query_row_ + first) * stride + column_, stride);
    }
  }

  [[gnu::flatten]] void backward(const op::AttentionBackward<T>& o) {
    keys_.begin(o, scratch_);
    take_memory_of_gradients();
    if (queries_ == 0) keys_.clear_sums();
    for (std::int64_t first = 0; first < queries_; first += most_) {
      const ScoreRows s = probabilities_of(first, Dropout{});
      sets_sums_ = first == 0 && s.first_key == 0 && s.columns == keys_.padded();
      if (first == 0 && !sets_sums_) keys_.clear_sums();
      if (rows_.direct() && sets_sums_ && s.rows == queries_) keys_.sum_where_rows_lie();
      take_gradients(s, o.g);
      for (std::int64_t at = 0; at < s.columns; at += kAttentionKeys)
        gradients_of_probabilities(s, block(s, at));
      row_dots(s);
      T* to = o.g_q + (query_row_ + first) * in_.q_stride + column_;
      begin_results(s, to, in_.q_stride);
      for (std::int64_t at = 0; at < s.columns; at += kAttentionKeys)
        gradients_of_scores(s, block(s, at));
      end_results(s, to, in_.q_stride);
    }
    keys_.end();
  }

 private:
  /// Columns [at, at + columns) of the scores, whose first is key `key`.
  struct Block {
    std::int64_t at, columns, key;
  };
  [[nodiscard]] static typename HeldKeys<T>::Place keys_of(const op::AttentionInputs<T>& in,
                                                           std::int64_t number) {
    const std::int64_t* offset = in.key_offsets + number / in.heads;
    return {offset[0], number % in.heads * in.width, offset[1] - offset[0]};
  }
  [[nodiscard]] static Block block(const ScoreRows& s, std::int64_t at) {
    return {at, std::min(kAttentionKeys, s.columns - at), s.first_key + at};
  }
  /// The columns of a block that a row sees, from the block's first on.
  [[nodiscard]] static runtime::PositionRange seen_of(const ScoreRows& s, const Block& b,
                                                      std::int64_t row) {
    const runtime::PositionRange seen = s.seen(row);
    const std::int64_t begin = std::clamp<std::int64_t>(seen.begin - b.at, 0, b.columns);
    return {begin, std::clamp<std::int64_t>(seen.end - b.at, begin, b.columns)};
  }

  void take_memory_of_gradients() {
    g_scores_ = scratch_.take(most_ * pitch_);
    dropped_ = scratch_.take(most_ * kDroppedPitch);
    g_ = scratch_.take(most_ * width_);
  }

  /// Where a block's results are summed: in their own rows, if that takes one block of keys.
  void begin_results(const ScoreRows& s, T* to, std::int64_t stride) {
    const bool at_once = rows_.direct() && s.columns > 0 && s.columns <= kAttentionKeys;
    result_ = at_once ? Sums{reinterpret_cast<float*>(to), stride, kPanel}
                      : Sums{room_of_results_, width_, kPanel};
    if (s.columns == 0) std::fill(result_.data, result_.data + s.rows * width_, 0.0F);
  }
  void end_results(const ScoreRows& s, T* to, std::int64_t stride) const {
    if (result_.data == room_of_results_) rows_.store(room_of_results_, s.rows, to, stride);
  }
  /// Probabilities with their draws of a block of queries from `first` on, for the keys that one of
  /// them sees.
  [[nodiscard]] ScoreRows probabilities_of(std::int64_t first, Dropout dropout) {
    const std::int64_t rows = std::min(most_, queries_ - first);
    const std::int64_t begin = in_.rule.keys(first, keys_.count()).begin / kPanel * kPanel;
    const std::int64_t end = in_.rule.keys(first + rows - 1, keys_.count()).end;
    const ScoreRows s{.rows = rows,
                      .stride = pitch_,
                      .columns = runtime::whole_lanes(std::max(end - begin, std::int64_t{0})),
                      .keys = keys_.count(),
                      .first = first,
                      .first_key = begin,
                      .head = column_ / in_.width,
                      .rule = in_.rule,
                      .place = first_place_ + first * in_.keys,
                      .pitch = in_.keys};
    keys_.hold(begin, begin + s.columns);
    rows_.lay_out(in_.q + (query_row_ + first) * in_.q_stride + column_, in_.q_stride, rows, q_);
    scores_of(s, {0, s.columns, begin}, q_, keys_.keys_across(begin), p_);
    probabilities(s, p_, p_, dropout, in_.scale);
    return s;
  }
  /// The gradients of the results of a block of queries.
  void take_gradients(const ScoreRows& s, const T* g) const {
    const std::int64_t stride = in_.heads * in_.width;
    const T* rows = g + (query_row_ + s.first) * stride + column_;
    rows_.lay_out(rows, stride, s.rows, g_);
  }

  /// Gradients of a block's probabilities before their draws, and those of its values.
  void gradients_of_probabilities(const ScoreRows& s, const Block& b) const {
    scores_of(s, b, g_, keys_.values_across(b.key), g_scores_ + b.at);
    if (in_.dropout.rate == 0.0F)
      return add_over_queries(s, b, {p_ + b.at, pitch_}, g_, keys_.sum_of_values(b.key));
    draw(s, b);
    add_over_queries(s, b, {dropped_, kDroppedPitch}, g_, keys_.sum_of_values(b.key));
  }
  /// dropped_ = the block's probabilities with their draws, which its gradients take too.
  [[gnu::noinline, gnu::flatten]] void draw(const ScoreRows& s, const Block& b) const {
    const DropoutDraws draws(in_.dropout);
    for (std::int64_t t = 0; t < s.rows; ++t) {
      const float* __restrict p = p_ + t * pitch_ + b.at;
      float* __restrict g = g_scores_ + t * pitch_ + b.at;
      float* __restrict d = dropped_ + t * kDroppedPitch;
      const std::int64_t place = s.place + t * s.pitch + b.key;
      for (std::int64_t i = 0; i < b.columns; ++i) {
        const float factor = draws.factor(place + i);
        d[i] = p[i] * factor;
        g[i] *= factor;
      }
    }
  }
  /// The sum of each row's probabilities times their gradients.
  [[gnu::noinline, gnu::flatten]] void row_dots(const ScoreRows& s) {
    for (std::int64_t t = 0; t < s.rows; ++t) {
      const runtime::PositionRange seen = s.seen(t);
      const float* p = p_ + t * pitch_ + seen.begin;
      const float* g = g_scores_ + t * pitch_ + seen.begin;
      dots_[t] = RowOf<kTile.lanes>::dot(p, g, seen.end - seen.begin);
    }
  }
  /// A block's part in the gradients of queries, and those of its keys.
  void gradients_of_scores(const ScoreRows& s, const Block& b) const {
    softmax_backward(s, b);
    times_keys(s, b, g_scores_ + b.at);
    add_over_queries(s, b, {g_scores_ + b.at, pitch_}, q_, keys_.sum_of_keys(b.key));
  }
  /// In place: from gradients of probabilities to those of scores before their scale, times it.
  [[gnu::noinline, gnu::flatten]] void softmax_backward(const ScoreRows& s, const Block& b) const {
    const float scale = in_.scale;
    for (std::int64_t t = 0; t < s.rows; ++t) {
      const float* __restrict p = p_ + t * pitch_ + b.at;
      float* __restrict g = g_scores_ + t * pitch_ + b.at;
      const runtime::PositionRange seen = seen_of(s, b, t);
      const float dot = dots_[t];
      for (std::int64_t i = seen.begin; i < seen.end; ++i) g[i] = p[i] * (g[i] - dot) * scale;
      clear_unseen(g, seen, b.columns);
    }
  }

  /// c [queries, columns of b] = x [queries, width] times keys or values across.
  void scores_of(const ScoreRows& s, const Block& b, const float* x, const float* across,
                 float* c) const {
    multiply({.a = x,
              .a_row = width_,
              .a_step = 1,
              .b = across,
              .b_stride = kPanel,
              .b_panel = kPanel * width_,
              .c = c,
              .c_stride = pitch_,
              .rows = s.rows,
              .columns = b.columns,
              .steps = width_,
              .reach = Reach::kSeenColumns,
              .rule = s.rule,
              .first = s.first,
              .first_key = b.key,
              .count = keys_.count()});
  }
  /// result_ += p [queries, columns of b] times the panels of keys or values; the first block sets
  /// it.
  void times_keys(const ScoreRows& s, const Block& b, const float* p) const {
    multiply({.a = p,
              .a_row = pitch_,
              .a_step = 1,
              .b = keys_.row(b.key),
              .b_stride = kPanel,
              .b_panel = keys_.panel(),
              .c = result_.data,
              .c_stride = result_.row,
              .rows = s.rows,
              .columns = width_,
              .steps = std::min(b.columns, keys_.count() - b.key),
              .reach = Reach::kSeenSteps,
              .rule = s.rule,
              .first = s.first,
              .first_key = b.key,
              .count = keys_.count(),
              .write = b.at == 0 ? Write::kSet : Write::kAdd});
  }
  /// c += the transpose of p [queries, columns of b] times the queries' rows x.
  void add_over_queries(const ScoreRows& s, const Block& b, const Rows& p, const float* x,
                        const Sums& c) const {
    multiply({.a = p.data,
              .a_row = 1,
              .a_step = p.stride,
              .b = x,
              .b_stride = width_,
              .b_panel = kPanel,
              .c = c.data,
              .c_stride = c.row,
              .c_panel = c.panel,
              .rows = std::min(b.columns, keys_.count() - b.key),
              .columns = width_,
              .steps = s.rows,
              .reach = Reach::kSeeingSteps,
              .rule = s.rule,
              .first = s.first,
              .first_key = b.key,
              .count = queries_,
              .write = sets_sums_ ? Write::kSet : Write::kAdd});
  }

  using Write = MatrixProduct::Write;
  static constexpr std::int64_t kDroppedPitch = kAttentionKeys + kPanel;

  const op::AttentionInputs<T>& in_;
  std::int64_t column_, width_;
  std::int64_t query_row_, queries_;
  Scratch scratch_;
  HeadRows<T> rows_;
  HeldKeys<T> keys_;
  std::int64_t most_, pitch_;  ///< queries of a block; floats of a row of scores
  std::int64_t first_place_;   ///< of the head's draws
  float *p_, *q_, *room_of_results_;
  float *g_scores_ = nullptr, *dropped_ = nullptr, *g_ = nullptr;
  Sums result_{};
  bool sets_sums_ = false;  ///< the block of queries is the first of all for every key
  float dots_[runtime::kMostQueriesOfBlock] = {};
};

}  // namespace th::model::TH_ISA
