#include "model/products/row_kernel.hpp"

#include "model/ops/vectors.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

// The build compiles this file for instruction sets with fused multiply-adds alone, and with
// -ffp-contract=fast: each `sum += left * right` below is one instruction with one rounding.
namespace th::model::TH_ISA {

namespace {

using Vectors = VectorOf<kRowTile.lanes>;
using Vector = Vectors::Type;
using Lanes = std::make_integer_sequence<int, kRowTile.lanes>;

/// The first `count` floats, and zeros.
inline Vector load_some(const float* from, std::int64_t count) {
  float some[kRowTile.lanes] = {};
  std::memcpy(some, from, static_cast<std::size_t>(count) * sizeof(float));
  return Vectors::load(some);
}

/// Sums of neighbouring lanes of a, then of b.
template <int... I>
[[gnu::always_inline]] inline Vector pair_sums(Vector a, Vector b,
                                               std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, (2 * I)...) + __builtin_shufflevector(a, b, (2 * I + 1)...);
}

constexpr int power_of_two_from(int count) {
  int power = 1;
  while (power < count) power *= 2;
  return power;
}

/// The sum of the lanes of each of C vectors, in order. Neighbours are added first, so the order of
/// additions does not depend on C.
template <int C>
[[gnu::always_inline]] inline void lane_sums(const Vector (&sums)[C], float* out) {
  constexpr int kCount = power_of_two_from(C);
  Vector v[kCount];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) v[i] = i < C ? sums[i] : Vector{};
  int left = kCount;
#pragma GCC unroll 4
  for (int width = kRowTile.lanes; width > 1; width /= 2) {
    if (left == 1) {
      v[0] = pair_sums(v[0], Vector{}, Lanes());
      continue;
    }
    left /= 2;
#pragma GCC unroll 8
    for (int i = 0; i < left; ++i) v[i] = pair_sums(v[2 * i], v[2 * i + 1], Lanes());
  }
  float all[std::max(kCount, kRowTile.lanes)];
#pragma GCC unroll 4
  for (int i = 0; i < left; ++i) Vectors::store(all + i * kRowTile.lanes, v[i]);
  std::memcpy(out, all, C * sizeof(float));
}

/// R rows by C columns.
template <int R, int C>
void tile(const RowProduct& p, std::int64_t row, std::int64_t column) {
  const float* x = p.x + row * p.x_stride;
  const float* w = p.weight + column * p.weight_stride;
  Vector sums[R * C] = {};
  std::int64_t k = 0;
  for (; k + kRowTile.lanes <= p.inputs; k += kRowTile.lanes) {
    Vector right[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) right[c] = Vectors::load(w + c * p.weight_stride + k);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Vector left = Vectors::load(x + r * p.x_stride + k);
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sums[r * C + c] += left * right[c];
    }
  }
  if (const std::int64_t rest = p.inputs - k; rest > 0) {
    for (int c = 0; c < C; ++c) {
      const Vector right = load_some(w + c * p.weight_stride + k, rest);
      for (int r = 0; r < R; ++r)
        sums[r * C + c] += load_some(x + r * p.x_stride + k, rest) * right;
    }
  }
  float out[R * C];
  lane_sums(sums, out);
  for (int r = 0; r < R; ++r) {
    float* y = p.y + (row + r) * p.y_stride + column;
    for (int c = 0; c < C; ++c)
      y[c] = p.bias != nullptr ? out[r * C + c] + p.bias[column + c] : out[r * C + c];
  }
}

/// C columns of the rows [row, end).
template <int C>
void columns_of(const RowProduct& p, std::int64_t row, std::int64_t end, std::int64_t column) {
  for (; row + kRowTile.rows <= end; row += kRowTile.rows) tile<kRowTile.rows, C>(p, row, column);
  for (; row < end; ++row) tile<1, C>(p, row, column);
}

}  // namespace

void multiply_rows(const RowProduct& p) {
  // Rows of x that stay in the second cache while all columns of the weight pass.
  constexpr std::int64_t kFloats = 1 << 16;
  const std::int64_t block =
      std::max<std::int64_t>(kFloats / std::max<std::int64_t>(p.inputs, 1) / kRowTile.rows, 2) *
      kRowTile.rows;
  for (std::int64_t row = 0; row < p.rows; row += block) {
    const std::int64_t end = std::min(row + block, p.rows);
    std::int64_t column = p.first;
    for (; column + kRowTile.columns <= p.last; column += kRowTile.columns)
      columns_of<kRowTile.columns>(p, row, end, column);
    for (; column < p.last; ++column) columns_of<1>(p, row, end, column);
  }
}

}  // namespace th::model::TH_ISA
