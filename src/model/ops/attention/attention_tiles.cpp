#include "model/ops/attention/attention_tiles.hpp"

#include "model/ops/vectors.hpp"

#include <algorithm>

// The build compiles this file for instruction sets with fused multiply-adds alone, and with
// -ffp-contract=fast: each `sum += left * right` below is one instruction with one rounding.
// Nothing else may stand here, because everywhere else each operation rounds.
namespace th::model::TH_ISA {

namespace {

using runtime::PositionRange;

using Vectors = VectorOf<kTile.lanes>;
using Vector = Vectors::Type;

using Write = MatrixProduct::Write;

/// Where vector v of a tile lies, of a matrix whose panels are `panel` apart.
[[gnu::always_inline]] inline std::int64_t at_vector(int v, std::int64_t panel) {
  const std::int64_t column = v * kTile.lanes;
  return column / kPanel * panel + column % kPanel;
}

/// c = (or +=) a b for a tile of R rows and V vectors.
template <Write W, int R, int V>
inline void tile(const MatrixProduct& p, std::int64_t row, std::int64_t column,
                 PositionRange steps) {
  Vector sum[R][V];
  float* c = p.c + row * p.c_stride + column / kPanel * p.c_panel;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      sum[r][v] =
          W == Write::kAdd ? Vectors::load(c + r * p.c_stride + at_vector(v, p.c_panel)) : Vector{};
    }
  }
  const float* a = p.a + row * p.a_row + steps.begin * p.a_step;
  const float* b = p.b + steps.begin * p.b_stride + column / kPanel * p.b_panel;
#pragma GCC unroll 4
  for (std::int64_t t = steps.begin; t < steps.end; ++t, a += p.a_step, b += p.b_stride) {
    Vector right[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) right[v] = Vectors::load(b + at_vector(v, p.b_panel));
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float left = a[r * p.a_row];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      Vectors::store(c + r * p.c_stride + at_vector(v, p.c_panel), sum[r][v]);
  }
}

/// The last rows, fewer than a tile has.
template <Write W, int R, int V>
inline void rest(const MatrixProduct& p, std::int64_t row, std::int64_t column,
                 PositionRange steps) {
  if constexpr (R > 0) {
    if (p.rows - row == R) return tile<W, R, V>(p, row, column, steps);
    rest<W, R - 1, V>(p, row, column, steps);
  }
}

/// The steps that count for the rows [row, end).
template <Reach Q>
[[gnu::always_inline]] inline PositionRange steps_of(const MatrixProduct& p, std::int64_t row,
                                                     std::int64_t end) {
  if constexpr (Q == Reach::kSeenSteps) {
    return {std::max<std::int64_t>(p.rule.keys(p.first + row, p.count).begin - p.first_key, 0),
            std::min(p.rule.keys(p.first + end - 1, p.count).end - p.first_key, p.steps)};
  } else if constexpr (Q == Reach::kSeeingSteps) {
    const auto step = [&](std::int64_t query) {
      return std::clamp<std::int64_t>(query - p.first, 0, p.steps);
    };
    return {step(p.rule.queries(p.first_key + row, p.count).begin),
            step(p.rule.queries(p.first_key + end - 1, p.count).end)};
  } else {
    return {0, p.steps};
  }
}

/// Whether a query of the rows [row, end) sees a key of the columns [column, column + width).
[[gnu::always_inline]] inline bool sees(const MatrixProduct& p, std::int64_t row, std::int64_t end,
                                        std::int64_t column, std::int64_t width) {
  const std::int64_t key = p.first_key + column;
  return key < p.rule.keys(p.first + end - 1, p.count).end &&
         key + width > p.rule.keys(p.first + row, p.count).begin;
}

template <Reach Q, Write W, int V>
void columns_of(const MatrixProduct& p, std::int64_t column) {
  for (std::int64_t row = 0; row < p.rows; row += kTile.rows) {
    const std::int64_t end = std::min<std::int64_t>(row + kTile.rows, p.rows);
    if (Q == Reach::kSeenColumns && !sees(p, row, end, column, V * kTile.lanes)) continue;
    const PositionRange steps = steps_of<Q>(p, row, end);
    if (end - row == kTile.rows) {
      tile<W, kTile.rows, V>(p, row, column, steps);
    } else {
      rest<W, kTile.rows - 1, V>(p, row, column, steps);
    }
  }
}

template <Reach Q, Write W>
void multiply_by_tiles(const MatrixProduct& p) {
  constexpr std::int64_t kWidth = kTile.vectors * kTile.lanes;
  std::int64_t column = 0;
  for (; column + kWidth <= p.columns; column += kWidth) columns_of<Q, W, kTile.vectors>(p, column);
  for (; column < p.columns; column += kTile.lanes) columns_of<Q, W, 1>(p, column);
}

}  // namespace

void multiply(const MatrixProduct& product) {
  const bool adds = product.write == Write::kAdd;
  if (product.reach == Reach::kSeenColumns)
    return multiply_by_tiles<Reach::kSeenColumns, Write::kSet>(product);
  if (product.reach == Reach::kSeenSteps && !adds)
    return multiply_by_tiles<Reach::kSeenSteps, Write::kSet>(product);
  if (product.reach == Reach::kSeenSteps)
    return multiply_by_tiles<Reach::kSeenSteps, Write::kAdd>(product);
  if (!adds) return multiply_by_tiles<Reach::kSeeingSteps, Write::kSet>(product);
  multiply_by_tiles<Reach::kSeeingSteps, Write::kAdd>(product);
}

}  // namespace th::model::TH_ISA
