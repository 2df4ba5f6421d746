#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "model/ops/attention/attention_scores.hpp"
#include "model/ops/attention/attention_tiles.hpp"

// Attention of sentences whose keys stay in the processor's caches: operands are read where they
// lie, and a block of queries takes all keys at a time.
namespace th::model::TH_ISA {

using runtime::kAttentionQueries;

/// One sentence and head: T queries, S keys.
template <typename T>
class Head {
 public:
  Head(const op::AttentionInputs<T>& in, std::int64_t number, float* scratch)
      : in_(in),
        sentence_(number / in.heads),
        head_(number % in.heads),
        column_(head_ * in.width),
        width_(runtime::whole_lanes(in.width)),
        direct_(std::is_same_v<T, float> && in.width == width_),
        place_(number * in.queries * in.keys),
        scratch_(scratch) {
    query_row_ = in.query_offsets[sentence_];
    key_row_ = in.key_offsets[sentence_];
    queries_ = in.query_offsets[sentence_ + 1] - query_row_;
    keys_ = in.key_offsets[sentence_ + 1] - key_row_;
    stride_ = runtime::whole_lanes(keys_);
    keys_across_ = scratch_.take(width_ * stride_);
    p_ = scratch_.take(kAttentionQueries * stride_);
    dropped_ = in.dropout.rate == 0.0F ? p_ : scratch_.take(kAttentionQueries * stride_);
  }

  [[gnu::flatten]] void forward(T* out) {
    k_ = key_rows(in_.k);
    const Rows v = key_rows(in_.v);
    transpose_keys(k_, keys_across_);
    q_block_ = direct_ ? nullptr : scratch_.take(kAttentionQueries * width_);
    float* result = direct_ ? nullptr : scratch_.take(kAttentionQueries * width_);
    const std::int64_t width = in_.heads * in_.width;
    for (std::int64_t first = 0; first < queries_; first += kAttentionQueries) {
      const ScoreRows s = scores(first);
      T* to = out + (query_row_ + first) * width + column_;
      times_keys(s, dropped_, v, direct_ ? as_float(to) : result, direct_ ? width : width_);
      if (!direct_) store(result, s.rows, to, width);
    }
  }

  [[gnu::flatten]] void backward(const op::AttentionBackward<T>& o) {
    k_ = key_rows(in_.k);
    const Rows v = key_rows(in_.v);
    transpose_keys(k_, keys_across_);
    float* values_across = scratch_.take(width_ * stride_);
    transpose_keys(v, values_across);
    float* g_scores = scratch_.take(kAttentionQueries * stride_);
    q_block_ = direct_ ? nullptr : scratch_.take(kAttentionQueries * width_);
    float* g_block = direct_ ? nullptr : scratch_.take(kAttentionQueries * width_);
    float* result = direct_ ? nullptr : scratch_.take(kAttentionQueries * width_);
    T* to_k = o.g_k + key_row_ * in_.kv_stride + column_;
    T* to_v = o.g_v + key_row_ * in_.kv_stride + column_;
    float* sum_k = direct_ ? as_float(to_k) : scratch_.take(stride_ * width_);
    float* sum_v = direct_ ? as_float(to_v) : scratch_.take(stride_ * width_);
    for (std::int64_t first = 0; first == 0 || first < queries_;
         first += kAttentionQueries) {  // once for no queries: keys' gradients are zero
      const ScoreRows s = scores(first);
      const Rows g_rows = block_rows(o.g, in_.heads * in_.width, first, s.rows, g_block);
      add_over_queries(s, dropped_, g_rows, sum_v);
      scores_of(s, g_rows, values_across, g_scores);
      probabilities_backward(s, p_, g_scores, in_.dropout, in_.scale);
      T* to_q = o.g_q + (query_row_ + first) * in_.q_stride + column_;
      times_keys(s, g_scores, k_, direct_ ? as_float(to_q) : result,
                 direct_ ? in_.q_stride : width_);
      add_over_queries(s, g_scores, q_, sum_k);
      if (!direct_) store(result, s.rows, to_q, in_.q_stride);
    }
    if (direct_) return;
    store(sum_k, keys_, to_k, in_.kv_stride);
    store(sum_v, keys_, to_v, in_.kv_stride);
  }

 private:
  static float* as_float(T* x) { return reinterpret_cast<float*>(x); }

  /// Rows of x as fp32 of whole vectors: where they lie, or widened into `room`.
  [[nodiscard, gnu::noinline, gnu::flatten]] Rows rows_of(const T* x, std::int64_t stride,
                                                          std::int64_t count, float* room) const {
    if (direct_) return {reinterpret_cast<const float*>(x), stride};
    for (std::int64_t r = 0; r < count; ++r) {
      compute(op::Widen<T>{.x = x + r * stride, .y = room + r * width_, .count = in_.width});
      std::fill(room + r * width_ + in_.width, room + (r + 1) * width_, 0.0F);
    }
    return {room, width_};
  }
  [[nodiscard]] Rows key_rows(const T* x) {
    return rows_of(x + key_row_ * in_.kv_stride + column_, in_.kv_stride, keys_,
                   direct_ ? nullptr : scratch_.take(stride_ * width_));
  }
  [[nodiscard]] Rows block_rows(const T* x, std::int64_t stride, std::int64_t first,
                                std::int64_t count, float* room) const {
    return rows_of(x + (query_row_ + first) * stride + column_, stride, count, room);
  }
  /// to [width, stride] = the transpose of the keys' rows, with zeros for keys beyond the last.
  [[gnu::noinline, gnu::flatten]] void transpose_keys(const Rows& rows, float* to) const {
    for (std::int64_t r = 0; r < stride_; r += 8) {
      for (std::int64_t c = 0; c < width_; c += 8) {
        transpose_block<VectorOf<8>>(rows.data + r * rows.stride + c, rows.stride, keys_ - r,
                                     to + c * stride_ + r, stride_);
      }
    }
  }
  [[gnu::noinline, gnu::flatten]] void store(const float* from, std::int64_t rows, T* to,
                                             std::int64_t stride) const {
    for (std::int64_t r = 0; r < rows; ++r)
      compute(op::Narrow<T>{.x = from + r * width_, .y = to + r * stride, .count = in_.width});
  }

  /// Probabilities of a block of queries from `first` on, before and after their draws.
  [[nodiscard]] ScoreRows scores(std::int64_t first) {
    const ScoreRows s{.rows = std::min(kAttentionQueries, queries_ - first),
                      .stride = stride_,
                      .columns = stride_,
                      .keys = keys_,
                      .first = first,
                      .first_key = 0,
                      .head = head_,
                      .rule = in_.rule,
                      .place = place_ + first * in_.keys,
                      .pitch = in_.keys};
    q_ = block_rows(in_.q, in_.q_stride, first, s.rows, q_block_);
    scores_of(s, q_, keys_across_, p_);
    probabilities(s, p_, dropped_, in_.dropout, in_.scale);
    return s;
  }

  /// c [queries, stride] = x [queries, width] times keys or values across.
  void scores_of(const ScoreRows& s, const Rows& x, const float* across, float* c) const {
    multiply({.a = x.data,
              .a_row = x.stride,
              .a_step = 1,
              .b = across,
              .b_stride = stride_,
              .c = c,
              .c_stride = stride_,
              .rows = s.rows,
              .columns = stride_,
              .steps = width_,
              .reach = Reach::kSeenColumns,
              .rule = s.rule,
              .first = s.first,
              .count = keys_});
  }
  /// c [queries, width] = p [queries, stride] times the keys' rows x.
  void times_keys(const ScoreRows& s, const float* p, const Rows& x, float* c,
                  std::int64_t c_stride) const {
    multiply({.a = p,
              .a_row = stride_,
              .a_step = 1,
              .b = x.data,
              .b_stride = x.stride,
              .c = c,
              .c_stride = c_stride,
              .rows = s.rows,
              .columns = width_,
              .steps = keys_,
              .reach = Reach::kSeenSteps,
              .rule = s.rule,
              .first = s.first,
              .count = keys_});
  }
  /// c [keys, width] = (or +=, after the first block) the transpose of p [queries, stride] times
  /// the queries' rows x.
  void add_over_queries(const ScoreRows& s, const float* p, const Rows& x, float* c) const {
    multiply({.a = p,
              .a_row = 1,
              .a_step = stride_,
              .b = x.data,
              .b_stride = x.stride,
              .c = c,
              .c_stride = direct_ ? in_.kv_stride : width_,
              .rows = keys_,
              .columns = width_,
              .steps = s.rows,
              .reach = Reach::kSeeingSteps,
              .rule = s.rule,
              .first = s.first,
              .count = queries_,
              .write = s.first > 0 ? MatrixProduct::Write::kAdd : MatrixProduct::Write::kSet});
  }

  const op::AttentionInputs<T>& in_;
  std::int64_t sentence_, head_, column_, width_;
  bool direct_;  ///< rows are read and written where they lie
  std::int64_t place_, query_row_ = 0, key_row_ = 0, queries_ = 0, keys_ = 0, stride_ = 0;
  Scratch scratch_;
  float *keys_across_ = nullptr, *p_ = nullptr, *dropped_ = nullptr;
  float* q_block_ = nullptr;  ///< memory for a block of queries that are not read where they lie
  Rows q_{}, k_{};            ///< q_: of the block whose scores were made last
};

}  // namespace th::model::TH_ISA
