#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "model/ops/attention/attention_scores.hpp"
#include "model/ops/attention/attention_tiles.hpp"

namespace th::model::TH_ISA {

/// One head's rows in packed matrices of T, and how attention's products arrange them: in fp32,
/// filled up with zeros to whole panels of 16 columns. Rows of a packed matrix lie pages apart, and
/// processors foresee nothing beyond a page, so each row is asked for ahead of its use.
template <typename T>
class HeadRows {
 public:
  /// The rows have `columns` columns. The caller gives `room` for 16 rows in fp32.
  HeadRows(std::int64_t columns, float* room)
      : columns_(columns),
        width_(runtime::whole_lanes(columns)),
        direct_(std::is_same_v<T, float> && columns == width_),
        room_(room) {}

  /// Whether rows are fp32 of whole panels where they lie.
  [[nodiscard]] bool direct() const noexcept { return direct_; }

  /// to [rows, width] = the rows.
  [[gnu::noinline, gnu::flatten]] void lay_out(const T* x, std::int64_t stride, std::int64_t rows,
                                               float* to) const {
    each_row(x, stride, rows, [&](std::int64_t r, std::int64_t c, const float* from) {
      copy_panel(from, to + r * width_ + c);
    });
  }
  /// to [width / 16, rows, 16] = the rows in panels, `panel` apart.
  [[gnu::noinline, gnu::flatten]] void lay_in_panels(const T* x, std::int64_t stride,
                                                     std::int64_t rows, float* to,
                                                     std::int64_t panel) const {
    each_row(x, stride, rows, [&](std::int64_t r, std::int64_t c, const float* from) {
      copy_panel(from, to + c / kPanel * panel + r * kPanel);
    });
  }
  /// to [count / 16, width, 16] = the transpose of `count` rows, of which those from `real` on
  /// count as zeros.
  [[gnu::noinline, gnu::flatten]] void lay_across(const T* x, std::int64_t stride,
                                                  std::int64_t real, std::int64_t count,
                                                  float* to) const {
    for (std::int64_t r = 0; r < count; r += kPanel) {
      for (std::int64_t i = 0; i < kPanel; ++i) fetch(x + (r + kPanel + i) * stride);
      const float* from = wide(x + r * stride, room_);
      for (std::int64_t i = 1; i < std::min(kPanel, real - r) && !direct_; ++i)
        (void)wide(x + (r + i) * stride, room_ + i * width_);
      const std::int64_t from_stride = direct_ ? stride : width_;
      for (std::int64_t i = 0; i < kPanel; i += 8) {
        for (std::int64_t c = 0; c < width_; c += 8)
          transpose_block<VectorOf<8>>(from + i * from_stride + c, from_stride, real - r - i,
                                       to + r * width_ + c * kPanel + i, kPanel);
      }
    }
  }
  /// The rows = from [rows, width].
  [[gnu::noinline, gnu::flatten]] void store(const float* from, std::int64_t rows, T* to,
                                             std::int64_t stride) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      fetch<1>(to + (r + kAhead) * stride);
      narrow(from + r * width_, to + r * stride);
    }
  }
  /// The rows = from [width / 16, rows, 16], panels that are `panel` apart.
  [[gnu::noinline, gnu::flatten]] void store_panels(const float* from, std::int64_t panel,
                                                    std::int64_t rows, T* to,
                                                    std::int64_t stride) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      T* out = to + r * stride;
      fetch<1>(out + kAhead * stride);
      float* row = direct_ ? reinterpret_cast<float*>(out) : room_;
      for (std::int64_t c = 0; c < width_; c += kPanel)
        copy_panel(from + c / kPanel * panel + r * kPanel, row + c);
      if (!direct_) narrow(row, out);
    }
  }

 private:
  static constexpr std::int64_t kAhead = 8;

  template <int Writes = 0>
  [[gnu::always_inline]] void fetch(const T* row) const {
    constexpr std::int64_t kLine = 64 / sizeof(T);
    for (std::int64_t c = 0; c < columns_; c += kLine) __builtin_prefetch(row + c, Writes);
  }
  /// A row as fp32: where it lies, or widened into `room`.
  [[nodiscard]] const float* wide(const T* row, float* room) const {
    if (direct_) return reinterpret_cast<const float*>(row);
    compute(op::Widen<T>{.x = row, .y = room, .count = columns_});
    std::fill(room + columns_, room + width_, 0.0F);
    return room;
  }
  void narrow(const float* row, T* to) const {
    compute(op::Narrow<T>{.x = row, .y = to, .count = columns_});
  }
  /// take(row, column, 16 values) for every panel of every row.
  template <typename Take>
  [[gnu::always_inline]] void each_row(const T* x, std::int64_t stride, std::int64_t rows,
                                       const Take& take) const {
    for (std::int64_t r = 0; r < rows; ++r) {
      fetch(x + (r + kAhead) * stride);
      const float* from = wide(x + r * stride, room_);
      for (std::int64_t c = 0; c < width_; c += kPanel) take(r, c, from + c);
    }
  }
  [[gnu::always_inline]] static inline void copy_panel(const float* from, float* to) {
    using Eight = VectorOf<8>;
    Eight::store(to, Eight::load(from));
    Eight::store(to + 8, Eight::load(from + 8));
  }

  std::int64_t columns_, width_;
  bool direct_;
  float* room_;
};

}  // namespace th::model::TH_ISA
