#pragma once

#include <algorithm>
#include <cstdint>

#include "model/ops/attention/attention_rows.hpp"
#include "model/ops/attention/attention_scores.hpp"
#include "model/ops/attention/attention_tiles.hpp"

namespace th::model::TH_ISA {

/// Element (r, c) lies at data + r * row + c / 16 * panel + c % 16.
struct Sums {
  float* data;
  std::int64_t row, panel;
};

/// The keys of one sentence and head as LongHead's products read them, in panels of 16 columns, and
/// in the backward pass the sums of their gradients. Under a local rule a few keys are held at a
/// time, and the window slides on as queries come to see others.
template <typename T>
class HeldKeys {
 public:
  /// The sentence's keys are `count` rows of the operands from `row` on, and the head's columns
  /// begin at `column`.
  struct Place {
    std::int64_t row, column, count;
  };
  /// For so many queries. `in` and `rows` outlive it.
  HeldKeys(const op::AttentionInputs<T>& in, const Place& place, std::int64_t queries,
           const HeadRows<T>& rows, Scratch& scratch)
      : in_(in),
        place_(place),
        rows_(rows),
        width_(runtime::whole_lanes(in.width)),
        padded_(runtime::whole_lanes(place.count)),
        held_(runtime::keys_held(in.rule, queries, place.count)),
        keys_across_(scratch.take(held_ * width_)),
        panels_(scratch.take(held_ * width_)) {}

  /// Lays out the first keys, with their values to be added: of a forward pass.
  void begin() { lay(0, std::min(held_, padded_)); }
  /// The same for a backward pass, which adds keys.
  void begin(const op::AttentionBackward<T>& gradients, Scratch& scratch) {
    gradients_ = &gradients;
    values_across_ = scratch.take(held_ * width_);
    of_keys_ = {scratch.take(held_ * width_), kPanel, kPanel * held_};
    of_values_ = {scratch.take(held_ * width_), kPanel, kPanel * held_};
    begin();
  }

  [[nodiscard]] std::int64_t count() const { return place_.count; }
  /// All keys of the sentence, in whole panels.
  [[nodiscard]] std::int64_t padded() const { return padded_; }
  /// Key `key` across: panels of 16 keys, whose rows are columns of the head.
  [[nodiscard]] const float* keys_across(std::int64_t key) const {
    return keys_across_ + (key - first_) * width_;
  }
  [[nodiscard]] const float* values_across(std::int64_t key) const {
    return values_across_ + (key - first_) * width_;
  }
  /// Row `key` of what is added, in panels that are panel() apart: values, or in a backward pass
  /// keys.
  [[nodiscard]] const float* row(std::int64_t key) const {
    return panels_ + (key - first_) * kPanel;
  }
  [[nodiscard]] std::int64_t panel() const { return kPanel * held_; }
  /// Where the gradients of keys and of values are summed, from `key` on.
  [[nodiscard]] Sums sum_of_keys(std::int64_t key) const { return from(of_keys_, key); }
  [[nodiscard]] Sums sum_of_values(std::int64_t key) const { return from(of_values_, key); }

  /// Slides on to the keys [begin, end): sums of keys before them are stored, and as many keys are
  /// laid out behind those that stay as there is room for.
  [[gnu::noinline]] void hold(std::int64_t begin, std::int64_t end) {
    while (end > first_ + held_) {
      const std::int64_t laid = first_ + held_, first = std::min(begin, laid);
      if (gradients_ != nullptr) store_sums(first);
      for (float* across : {keys_across_, values_across_}) {
        if (across != nullptr)
          std::copy(across + (first - first_) * width_, across + held_ * width_, across);
      }
      for (float* panels : {panels_, of_keys_.data, of_values_.data}) {
        if (panels != nullptr) slide_panels(panels, first - first_);
      }
      first_ = first;
      lay(laid, std::min(first_ + held_, padded_));
      if (gradients_ != nullptr) clear_sums(laid);
    }
  }
  /// Zeros in the sums of the keys that are held.
  void clear_sums() const { clear_sums(first_); }
  /// The sums are set in the gradients' own rows, once for all keys: of one block of queries.
  void sum_where_rows_lie() {
    const std::int64_t at = place_.row * in_.kv_stride + place_.column;
    of_keys_ = {reinterpret_cast<float*>(gradients_->g_k + at), in_.kv_stride, kPanel};
    of_values_ = {reinterpret_cast<float*>(gradients_->g_v + at), in_.kv_stride, kPanel};
  }
  /// Stores the sums that are left, unless they lie in the gradients' own rows.
  void end() {
    if (of_keys_.row != kPanel) return;
    hold(padded_, padded_);
    store_sums(place_.count);
  }

 private:
  [[nodiscard]] Sums from(const Sums& sums, std::int64_t key) const {
    return {sums.data + (key - first_) * sums.row, sums.row, sums.panel};
  }
  [[nodiscard]] const T* rows_of(const T* x) const {
    return x + place_.row * in_.kv_stride + place_.column;
  }
  /// Lays the keys [begin, end) out.
  void lay(std::int64_t begin, std::int64_t end) const {
    const auto across = [&](const T* x, float* to) {
      rows_.lay_across(rows_of(x) + begin * in_.kv_stride, in_.kv_stride, place_.count - begin,
                       end - begin, to + (begin - first_) * width_);
    };
    across(in_.k, keys_across_);
    if (gradients_ != nullptr) across(in_.v, values_across_);
    const T* added = gradients_ != nullptr ? in_.k : in_.v;
    rows_.lay_in_panels(rows_of(added) + begin * in_.kv_stride, in_.kv_stride,
                        std::min(end, place_.count) - begin, panels_ + (begin - first_) * kPanel,
                        panel());
  }
  void slide_panels(float* x, std::int64_t keys) const {
    for (float* at = x; at < x + held_ * width_; at += panel())
      std::copy(at + keys * kPanel, at + panel(), at);
  }
  /// Zeros in the sums of the keys held from `key` on.
  void clear_sums(std::int64_t key) const {
    for (float* sums : {of_keys_.data, of_values_.data}) {
      for (float* at = sums; at < sums + held_ * width_; at += panel())
        std::fill(at + (key - first_) * kPanel, at + panel(), 0.0F);
    }
  }
  /// Stores the sums of the keys held before `end`.
  void store_sums(std::int64_t end) const {
    const auto store = [&](const Sums& sums, T* to) {
      rows_.store_panels(sums.data, sums.panel, std::min(end, place_.count) - first_,
                         to + (place_.row + first_) * in_.kv_stride + place_.column, in_.kv_stride);
    };
    store(of_keys_, gradients_->g_k);
    store(of_values_, gradients_->g_v);
  }

  const op::AttentionInputs<T>& in_;
  Place place_;
  const HeadRows<T>& rows_;
  std::int64_t width_, padded_;
  std::int64_t held_, first_ = 0;  ///< how many keys are laid out, and which is the first
  float *keys_across_, *panels_, *values_across_ = nullptr;
  Sums of_keys_{}, of_values_{};
  const op::AttentionBackward<T>* gradients_ = nullptr;  ///< of the backward pass
};

}  // namespace th::model::TH_ISA
