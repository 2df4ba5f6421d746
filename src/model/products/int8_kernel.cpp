#include "model/products/int8_kernel.hpp"

#include "model/ops/row_math.hpp"

#include <cmath>
#include <cstring>
#include <limits>

#include <immintrin.h>

// The one place with instructions by name: a compiler makes dot products of four bytes of loops,
// but then with a sum over lanes for each element, which costs half of the time at 512 inputs.
namespace th::model::TH_ISA {

namespace {

static_assert(kLanes == kInt8Panel);

/// Four bytes of inputs in every lane.
[[gnu::always_inline]] inline __m512i four_inputs(const std::uint8_t* x) {
  std::int32_t four = 0;
  std::memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}

/// The sums as floats: less what 128 in place of 0 adds, and scaled.
[[gnu::always_inline]] inline __m512 scaled(const Int8Product& p, __m512i sums, std::int64_t row,
                                            std::int64_t column) {
  typedef std::int32_t Whole __attribute__((vector_size(64)));
  typedef float Real __attribute__((vector_size(64)));
  Whole of_weight;
  Real scale;
  std::memcpy(&of_weight, p.weight_sums + column, sizeof of_weight);
  std::memcpy(&scale, p.weight_scale + column, sizeof scale);
  const Whole exact = reinterpret_cast<Whole>(sums) - of_weight * kInt8Zero;
  const Real value = __builtin_convertvector(exact, Real) * (scale * p.x_scale[row]);
  return reinterpret_cast<__m512>(value);
}

/// The columns [column, column + 16) of a row, without those from p.last on.
[[gnu::always_inline]] inline void store(const Int8Product& p, __m512 value, std::int64_t row,
                                         std::int64_t column) {
  const std::int64_t count = p.last - column;
  const auto mask = static_cast<__mmask16>(count >= kLanes ? 0xFFFF : (1 << count) - 1);
  if (p.bias != nullptr) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, p.bias + column));
  _mm512_mask_storeu_ps(p.y + row * p.y_stride + column, mask, value);
}

/// R rows by P panels of 16 columns.
template <int R, int P>
void tile(const Int8Product& p, std::int64_t row, std::int64_t column) {
  const std::int64_t steps = p.stride / kInt8Step;
  const std::uint8_t* x = p.x + row * p.stride;
  const std::int8_t* w = p.weight + column * p.stride;
  __m512i sums[R][P];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < P; ++c) sums[r][c] = _mm512_setzero_si512();
  }
  for (std::int64_t k = 0; k < steps; ++k) {
    __m512i right[P];
#pragma GCC unroll 4
    for (int c = 0; c < P; ++c)
      right[c] = _mm512_loadu_si512(w + (c * steps + k) * kLanes * kInt8Step);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i left = four_inputs(x + r * p.stride + k * kInt8Step);
#pragma GCC unroll 4
      for (int c = 0; c < P; ++c) sums[r][c] = _mm512_dpbusd_epi32(sums[r][c], left, right[c]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < P; ++c) {
      const std::int64_t at = column + c * kLanes;
      store(p, scaled(p, sums[r][c], row + r, at), row + r, at);
    }
  }
}

template <int P>
void columns_of(const Int8Product& p, std::int64_t column) {
  std::int64_t row = 0;
  for (; row + 8 <= p.rows; row += 8) tile<8, P>(p, row, column);
  for (; row + 2 <= p.rows; row += 2) tile<2, P>(p, row, column);
  for (; row < p.rows; ++row) tile<1, P>(p, row, column);
}

/// N outputs from number `i` on.
template <int N>
void chosen_from(const ChosenInt8& p, std::int64_t i) {
  __m512i sums[N];
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) sums[n] = _mm512_setzero_si512();
  for (std::int64_t k = 0; k < p.stride; k += 64) {
    const __m512i left = _mm512_loadu_si512(p.x + k);
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      const std::int8_t* row = p.weight + p.ids[i + n] * p.stride;
      sums[n] = _mm512_dpbusd_epi32(sums[n], left, _mm512_loadu_si512(row + k));
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n) {
    std::int32_t lanes[kLanes], all = 0;
    _mm512_storeu_si512(lanes, sums[n]);
    for (const std::int32_t lane : lanes) all += lane;
    const std::int32_t id = p.ids[i + n];
    const std::int32_t exact = all - p.weight_sums[id] * kInt8Zero;
    const float value = static_cast<float>(exact) * (p.weight_scale[id] * p.x_scale);
    p.y[i + n] = p.bias != nullptr ? value + p.bias[id] : value;
  }
}

}  // namespace

void multiply_chosen(const ChosenInt8& given) {
  const ChosenInt8 p = given;
  std::int64_t i = 0;
  for (; i + 4 <= p.count; i += 4) chosen_from<4>(p, i);
  for (; i < p.count; ++i) chosen_from<1>(p, i);
}

void multiply_int8(const Int8Product& p) {
  std::int64_t column = p.first;
  for (; column + kLanes < p.last; column += 2 * kLanes) columns_of<2>(p, column);
  for (; column < p.last; column += kLanes) columns_of<1>(p, column);
}

void quantize_row(const Int8Row& given) {
  const Int8Row r = given;
  float most_of[kLanes] = {};
  std::int64_t k = 0;
  for (; k + kLanes <= r.inputs; k += kLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const float size = std::fabs(r.row[k + l]);
      most_of[l] = size > most_of[l] ? size : most_of[l];
    }
  }
  for (; k < r.inputs; ++k) {
    const float size = std::fabs(r.row[k]);
    most_of[0] = size > most_of[0] ? size : most_of[0];
  }
  float most = 0;
  for (const float size : most_of) most = size > most ? size : most;
  // 0 * x is not a number where x is infinite or none.
  const float* row = r.row;
  const bool finite = lane_sum(r.inputs, [row](std::int64_t i) { return row[i] * 0.0F; }) == 0.0F;
  *r.scale = finite ? most / 127.0F : std::numeric_limits<float>::quiet_NaN();
  const float factor = finite && most > 0 ? 127.0F / most : 0.0F;
  constexpr float kUp = static_cast<float>(kInt8Zero) + 0.5F;  // positive: cutting off rounds
  std::uint8_t* x = r.x;
  if (finite) {
    for (std::int64_t i = 0; i < r.inputs; ++i)
      x[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>(row[i] * factor + kUp));
  } else {
    std::memset(x, kInt8Zero, static_cast<std::size_t>(r.inputs));
  }
  std::memset(x + r.inputs, kInt8Zero, static_cast<std::size_t>(int8_stride(r.inputs) - r.inputs));
}

}  // namespace th::model::TH_ISA
