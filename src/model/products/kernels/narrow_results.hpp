#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "model/products/kernels/int8_kernel.hpp"
#include "model/products/kernels/row_kernel.hpp"
#include "th/base/half_float.hpp"

// What kernels of int8 and of bf16 have in common, whichever instructions they use: how operands
// lie, and how sixteen sums become results.
namespace th::model::TH_ISA {

/// Where a product's rows of inputs and its panels of weights lie, in bytes.
struct NarrowOperands {
  const std::byte* x = nullptr;
  std::int64_t x_stride = 0;
  const std::byte* panels = nullptr;  ///< those of 16 columns each, from the product's first on
  std::int64_t panel = 0;             ///< bytes of one: for each step 16 times four
};

/// The columns [column, column + 16) that stand before `last`.
[[gnu::always_inline]] inline __mmask16 columns_before(std::int64_t last, std::int64_t column) {
  const std::int64_t count = last - column;
  return static_cast<__mmask16>(count >= 16 ? 0xFFFF : (1 << count) - 1);
}

struct Int8Results {
  using Product = Int8Product;
  using Sums = __m512i;

  [[gnu::always_inline]] static inline NarrowOperands operands(const Int8Product& p) {
    return {.x = reinterpret_cast<const std::byte*>(p.x),
            .x_stride = p.stride,
            .panels = reinterpret_cast<const std::byte*>(p.weight) + p.first * p.stride,
            .panel = kInt8Panel * p.stride};
  }

  /// The sums less what 128 in place of 0 adds, scaled, with bias.
  [[gnu::always_inline]] static inline void store(const Int8Product& p, __m512i sums,
                                                  std::int64_t row, std::int64_t column) {
    typedef std::int32_t Whole __attribute__((vector_size(64)));
    typedef float Real __attribute__((vector_size(64)));
    Whole of_weight;
    Real scale;
    std::memcpy(&of_weight, p.weight_sums + column, sizeof of_weight);
    std::memcpy(&scale, p.weight_scale + column, sizeof scale);
    const Whole exact = reinterpret_cast<Whole>(sums) - of_weight * kInt8Zero;
    const Real real = __builtin_convertvector(exact, Real) * (scale * p.x_scale[row]);
    __m512 value = reinterpret_cast<__m512>(real);
    const __mmask16 mask = columns_before(p.last, column);
    if (p.bias != nullptr)
      value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, p.bias + column));
    _mm512_mask_storeu_ps(p.y + row * p.y_stride + column, mask, value);
  }
};

struct Bf16Results {
  using Product = RowProduct<Bf16>;
  using Sums = __m512;

  [[gnu::always_inline]] static inline NarrowOperands operands(const RowProduct<Bf16>& p) {
    return {.x = reinterpret_cast<const std::byte*>(p.x),
            .x_stride = p.x_stride * static_cast<std::int64_t>(sizeof(Bf16)),
            .panels = reinterpret_cast<const std::byte*>(p.panels),
            .panel = kRowPanel * p.inputs * static_cast<std::int64_t>(sizeof(float))};
  }

  /// from_float<Bf16>() of 16 values.
  [[gnu::always_inline]] static inline __m512i rounded(__m512 values) {
    typedef std::uint32_t Whole __attribute__((vector_size(64)));
    const Whole bits = reinterpret_cast<Whole>(values), upper = bits >> 16;
    const Whole nearest = (bits + 0x7fffU + (upper & 1U)) >> 16;
    return reinterpret_cast<__m512i>((bits & 0x7fffffffU) > 0x7f800000U ? upper | 0x40U : nearest);
  }
  /// The sums with bias, rounded to bf16.
  [[gnu::always_inline]] static inline void store(const RowProduct<Bf16>& p, __m512 sums,
                                                  std::int64_t row, std::int64_t column) {
    const __mmask16 mask = columns_before(p.last, column);
    __m512 value = sums;
    if (p.bias != nullptr) {
      const __m256i bias = _mm256_maskz_loadu_epi16(mask, p.bias + column);
      const __m512i wide = _mm512_maskz_cvtepu16_epi32(mask, bias);
      value = _mm512_add_ps(value, _mm512_castsi512_ps(_mm512_maskz_slli_epi32(mask, wide, 16)));
    }
    _mm512_mask_cvtepi32_storeu_epi16(p.y + row * p.y_stride + column, mask, rounded(value));
  }
};

}  // namespace th::model::TH_ISA
