#include "model/products/kernels/int8_kernel.hpp"
#include "model/products/kernels/narrow_results.hpp"
#include "model/products/kernels/row_kernel.hpp"

#include <algorithm>
#include <cstddef>

#include <immintrin.h>

// Products in int8 and bf16 by the tile registers of AMX: 16 rows of 64 bytes each. A block of the
// result has up to 32 rows and 32 columns, in four tiles.
namespace th::model::TH_ISA {

namespace {

constexpr std::int64_t kTileRows = 16, kTileBytes = 64, kTile = kTileRows * kTileBytes;
constexpr std::int64_t kSide = 32;

struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t bytes[16] = {};
  std::uint8_t rows[16] = {};
};

/// Tiles 0 to 3 are sums, 4 and 5 inputs, 6 and 7 weights. `upper` and `lower` are the rows of the
/// two tiles of inputs.
void configure(std::int64_t upper, std::int64_t lower) {
  TileConfig c;
  for (int tile = 0; tile < 8; ++tile) {
    c.bytes[tile] = kTileBytes;
    c.rows[tile] = kTileRows;
  }
  for (const int tile : {0, 1, 4}) c.rows[tile] = static_cast<std::uint8_t>(upper);
  for (const int tile : {2, 3, 5}) c.rows[tile] = static_cast<std::uint8_t>(lower);
  // The intrinsic tells the compiler of the first eight bytes alone.
  asm volatile("" : : "r"(&c) : "memory");
  _tile_loadconfig(&c);
}

/// The products of a step: of the upper tile of inputs with both of weights, and of the lower one.
template <typename Kind>
struct Add;
template <>
struct Add<Int8Results> {
  [[gnu::always_inline]] static inline void upper() {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
  }
  [[gnu::always_inline]] static inline void lower() {
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
};
template <>
struct Add<Bf16Results> {
  [[gnu::always_inline]] static inline void upper() {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
  [[gnu::always_inline]] static inline void lower() {
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
};

/// Asks for what sum_block reads so many bytes of a panel later; behind the end of a pair of panels
/// the next one stands.
[[gnu::always_inline]] inline void fetch(const std::byte* w, std::int64_t panel, std::int64_t at) {
  constexpr std::int64_t kAhead = 4 * kTile;
  const std::byte* from = w + at + kAhead + (at + kAhead < panel ? 0 : panel);
#pragma GCC unroll 16
  for (std::int64_t line = 0; line < kTileRows; ++line) {
    __builtin_prefetch(from + line * kTileBytes);
    __builtin_prefetch(from + panel + line * kTileBytes);
  }
}

/// The sums of up to 32 rows, of which Tall tiles are there, and 32 columns, 32 a row.
template <typename Kind, int Tall>
void sum_block(const NarrowOperands& o, const std::byte* x, const std::byte* w,
               std::int32_t* sums) {
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (Tall == 2) {
    _tile_zero(2);
    _tile_zero(3);
  }
  const std::byte* below = x + kTileRows * o.x_stride;
  for (std::int64_t at = 0; at < o.panel; at += kTile) {
    const std::int64_t k = at / kTileRows;
    fetch(w, o.panel, at);
    _tile_loadd(6, w + at, kTileBytes);
    _tile_loadd(7, w + o.panel + at, kTileBytes);
    _tile_loadd(4, x + k, o.x_stride);
    Add<Kind>::upper();
    if constexpr (Tall == 2) {
      _tile_loadd(5, below + k, o.x_stride);
      Add<Kind>::lower();
    }
  }
  constexpr std::int64_t kLine = kSide * 4;
  _tile_stored(0, sums, kLine);
  _tile_stored(1, sums + kTileRows, kLine);
  if constexpr (Tall == 2) {
    _tile_stored(2, sums + kTileRows * kSide, kLine);
    _tile_stored(3, sums + kTileRows * kSide + kTileRows, kLine);
  }
}

/// The rows [row, row + rows), at most 32, and 32 columns from `column` on.
template <typename Kind, int Tall>
void block(const typename Kind::Product& p, const NarrowOperands& o, std::int64_t row,
           std::int64_t rows, std::int64_t column) {
  alignas(64) std::int32_t sums[kSide * kSide];
  sum_block<Kind, Tall>(o, o.x + row * o.x_stride,
                        o.panels + (column - p.first) / kTileRows * o.panel, sums);
  for (std::int64_t c = column; c < std::min(column + kSide, p.last); c += kTileRows) {
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::int32_t* of_row = sums + r * kSide + (c - column);
      typename Kind::Sums sixteen;
      std::memcpy(&sixteen, of_row, sizeof sixteen);
      Kind::store(p, sixteen, row + r, c);
    }
  }
}

template <typename Kind>
void multiply(const typename Kind::Product& given) {
  const typename Kind::Product p = given;
  const NarrowOperands o = Kind::operands(p);
  const std::int64_t whole = p.rows / kSide * kSide, rest = p.rows - whole;
  if (whole > 0) {
    configure(kTileRows, kTileRows);
    for (std::int64_t column = p.first; column < p.last; column += kSide) {
      for (std::int64_t row = 0; row < whole; row += kSide)
        block<Kind, 2>(p, o, row, kSide, column);
    }
  }
  if (rest > kTileRows) {
    configure(kTileRows, rest - kTileRows);
    for (std::int64_t column = p.first; column < p.last; column += kSide)
      block<Kind, 2>(p, o, whole, rest, column);
  } else if (rest > 0) {
    configure(rest, kTileRows);
    for (std::int64_t column = p.first; column < p.last; column += kSide)
      block<Kind, 1>(p, o, whole, rest, column);
  }
  _tile_release();
}

}  // namespace

void multiply_int8(const Int8Product& product) { multiply<Int8Results>(product); }

void multiply_bf16(const RowProduct<Bf16>& product) { multiply<Bf16Results>(product); }

}  // namespace th::model::TH_ISA
