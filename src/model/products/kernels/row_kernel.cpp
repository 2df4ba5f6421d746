#include "model/products/kernels/row_kernel.hpp"

#include "model/ops/vectors.hpp"

#include <cstring>
#include <utility>

// The build compiles this file for instruction sets with fused multiply-adds alone, and with
// -ffp-contract=fast: each `sum += left * right` below is one instruction with one rounding.
namespace th::model::TH_ISA {

namespace {

constexpr int kLanes = kRowTile.lanes;
/// Vectors of a panel.
constexpr int kVectors = kRowPanel / kLanes;

using Vectors = VectorOf<kLanes>;
using Vector = Vectors::Type;
using Lanes = std::make_integer_sequence<int, kLanes>;

/// Lanes of a and b in turn: of their first halves, or of their second ones.
template <int First, int... I>
[[gnu::always_inline]] inline Vector in_turn(Vector a, Vector b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (First + I / 2 + I % 2 * kLanes)...);
}

/// Rows become columns: each round interleaves the two halves of the vectors.
[[gnu::always_inline]] inline void transpose(Vector (&v)[kLanes]) {
#pragma GCC unroll 4
  for (int width = 1; width < kLanes; width *= 2) {
    Vector next[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; ++i) {
      next[2 * i] = in_turn<0>(v[i], v[i + kLanes / 2], Lanes());
      next[2 * i + 1] = in_turn<kLanes / 2>(v[i], v[i + kLanes / 2], Lanes());
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) v[i] = next[i];
  }
}

/// One vector's width of a panel, of `count` rows.
void make_part(const float* rows, std::int64_t stride, std::int64_t count, std::int64_t inputs,
               float* to) {
  std::int64_t k = 0;
  if (count >= kLanes) {
    for (; k + kLanes <= inputs; k += kLanes) {
      Vector v[kLanes];
#pragma GCC unroll 16
      for (int r = 0; r < kLanes; ++r) v[r] = Vectors::load(rows + r * stride + k);
      transpose(v);
#pragma GCC unroll 16
      for (int t = 0; t < kLanes; ++t) Vectors::store(to + (k + t) * kRowPanel, v[t]);
    }
  }
  for (; k < inputs; ++k) {
    for (std::int64_t r = 0; r < kLanes; ++r)
      to[k * kRowPanel + r] = r < count ? rows[r * stride + k] : 0.0F;
  }
}

void make_panels(const PanelsOfRows& given) {
  const PanelsOfRows p = given;
  float* panel = p.panels;
  for (std::int64_t n = p.first; n < p.last; n += kRowPanel, panel += kRowPanel * p.inputs) {
    for (int v = 0; v < kVectors; ++v) {
      const std::int64_t row = n + v * kLanes;
      make_part(p.weight + row * p.stride, p.stride, p.last - row, p.inputs, panel + v * kLanes);
    }
  }
}

/// Writes one vector of the result, without the columns from p.last on.
[[gnu::always_inline]] inline void store(const RowProduct<float>& p, Vector sum, std::int64_t row,
                                         std::int64_t column) {
  float* y = p.y + row * p.y_stride + column;
  if (column + kLanes <= p.last) {
    Vectors::store(y, p.bias != nullptr ? sum + Vectors::load(p.bias + column) : sum);
    return;
  }
  for (int l = 0; column + l < p.last; ++l)
    y[l] = p.bias != nullptr ? sum[l] + p.bias[column + l] : sum[l];
}

/// R rows by P panels, the first of which is number `panel`.
template <int R, int P>
void tile(const RowProduct<float>& p, std::int64_t row, std::int64_t panel) {
  constexpr int kWide = P * kVectors;
  const float* x = p.x + row * p.x_stride;
  const float* w = p.panels + panel * kRowPanel * p.inputs;
  // While the first rows are multiplied, the weights of the next columns come into the cache.
  const std::int64_t ahead = row == 0 ? P * kRowPanel * p.inputs : 0;
  Vector sums[R][kWide];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kWide; ++v) sums[r][v] = Vector{};
  }
  for (std::int64_t k = 0; k < p.inputs; ++k, w += kRowPanel) {
    Vector right[kWide];
#pragma GCC unroll 4
    for (int v = 0; v < kWide; ++v) {
      const float* from = w + v / kVectors * kRowPanel * p.inputs + v % kVectors * kLanes;
      right[v] = Vectors::load(from);
      __builtin_prefetch(from + ahead, 0, 2);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const float left = x[r * p.x_stride + k];
#pragma GCC unroll 4
      for (int v = 0; v < kWide; ++v) sums[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kWide; ++v)
      store(p, sums[r][v], row + r, p.first + panel * kRowPanel + v * kLanes);
  }
}

/// The last rows, fewer than a tile has.
template <int R, int P>
void rest(const RowProduct<float>& p, std::int64_t row, std::int64_t panel) {
  if constexpr (R > 0) {
    if (p.rows - row == R) return tile<R, P>(p, row, panel);
    rest<R - 1, P>(p, row, panel);
  }
}

template <int P>
void panels_of(const RowProduct<float>& p, std::int64_t panel) {
  std::int64_t row = 0;
  for (; row + kRowTile.rows <= p.rows; row += kRowTile.rows) tile<kRowTile.rows, P>(p, row, panel);
  rest<kRowTile.rows - 1, P>(p, row, panel);
}

void multiply(const RowProduct<float>& given) {
  const RowProduct p = given;
  const std::int64_t panels = (p.last - p.first + kRowPanel - 1) / kRowPanel;
  std::int64_t panel = 0;
  for (; panel + kRowTile.panels <= panels; panel += kRowTile.panels)
    panels_of<kRowTile.panels>(p, panel);
  for (; panel < panels; ++panel) panels_of<1>(p, panel);
}

}  // namespace

constinit const RowKernels kRowKernels{make_panels, multiply};

}  // namespace th::model::TH_ISA
