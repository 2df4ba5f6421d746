#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "model/products/kernels/narrow_results.hpp"

// Products of operands narrower than a float, by instructions that add dot products of four bytes
// to the lanes of a vector.
namespace th::model::TH_ISA {

/// Four bytes of inputs in every lane.
[[gnu::always_inline]] inline __m512i four_bytes(const std::byte* x) {
  std::int32_t four = 0;
  std::memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}

/// R rows from `row` on by P panels from the one of `column` on. Kind::Sums are 16 sums,
/// Kind::add(sums, left, right) adds a dot product of four bytes to each, and
/// Kind::store(product, sums, row, column) writes them.
template <typename Kind, int R, int P>
void dot_tile(const typename Kind::Product& p, const NarrowOperands& o, std::int64_t row,
              std::int64_t column) {
  const std::byte* x = o.x + row * o.x_stride;
  const std::byte* w = o.panels + (column - p.first) / 16 * o.panel;
  // While the first rows are multiplied, the weights of the next columns come into the cache.
  const std::byte* ahead = row == 0 ? w + P * o.panel : w;
  typename Kind::Sums sums[R][P];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < P; ++c) sums[r][c] = typename Kind::Sums{};
  }
  for (std::int64_t k = 0; k < o.panel / 64; ++k) {
    __m512i right[P];
#pragma GCC unroll 4
    for (int c = 0; c < P; ++c) {
      right[c] = _mm512_loadu_si512(w + c * o.panel + k * 64);
      __builtin_prefetch(ahead + c * o.panel + k * 64, 0, 2);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i left = four_bytes(x + r * o.x_stride + k * 4);
#pragma GCC unroll 4
      for (int c = 0; c < P; ++c) sums[r][c] = Kind::add(sums[r][c], left, right[c]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < P; ++c) Kind::store(p, sums[r][c], row + r, column + c * 16);
  }
}

template <typename Kind, int P>
void dot_columns(const typename Kind::Product& p, const NarrowOperands& o, std::int64_t column) {
  std::int64_t row = 0;
  for (; row + 8 <= p.rows; row += 8) dot_tile<Kind, 8, P>(p, o, row, column);
  for (; row + 2 <= p.rows; row += 2) dot_tile<Kind, 2, P>(p, o, row, column);
  for (; row < p.rows; ++row) dot_tile<Kind, 1, P>(p, o, row, column);
}

/// All rows of the product, the columns [p.first, p.last).
template <typename Kind>
void dot_product(const typename Kind::Product& given) {
  const typename Kind::Product p = given;  // a copy, which no store below can change
  const NarrowOperands o = Kind::operands(p);
  std::int64_t column = p.first;
  for (; column + 16 < p.last; column += 32) dot_columns<Kind, 2>(p, o, column);
  for (; column < p.last; column += 16) dot_columns<Kind, 1>(p, o, column);
}

}  // namespace th::model::TH_ISA
