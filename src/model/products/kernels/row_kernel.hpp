#pragma once

#include <cstdint>

#include "th/base/half_float.hpp"

// Products of linear layers in which each row of the result depends on its own row of inputs alone:
// never on how many rows there are, on their order, or on the number of threads.
namespace th::model {

/// Weights are multiplied in panels of so many outputs: [N, K] as [N / 16, K, 16], zeros behind N.
inline constexpr std::int64_t kRowPanel = 16;
/// Panels that are multiplied together.
inline constexpr std::int64_t kRowPanels = 3;
/// Floats of the panels of so many outputs.
[[nodiscard]] constexpr std::int64_t panel_floats(std::int64_t outputs, std::int64_t inputs) {
  return (outputs + kRowPanel - 1) / kRowPanel * kRowPanel * inputs;
}

/// Makes panels of the rows [first, last) of a weight, as torch.nn.Linear keeps it.
struct PanelsOfRows {
  const float* weight = nullptr;  ///< [N, K], rows `stride` floats apart
  std::int64_t stride = 0, inputs = 0;
  std::int64_t first = 0, last = 0;
  float* panels = nullptr;  ///< panel_floats(last - first, K)
};

/// y[m, n] = sum over k of x[m, k] weight[n, k], + bias[n], for all M rows and the columns
/// [first, last), sums in fp32. T is float, or Bf16, of which two inputs that stand together count
/// as one: panels, K and `inputs` are those of a weight of such pairs.
template <typename T>
struct RowProduct {
  const T* x = nullptr;  ///< [M, K], rows x_stride elements apart
  std::int64_t x_stride = 0;
  const float* panels = nullptr;  ///< of the columns from `first` on
  const T* bias = nullptr;        ///< [N], or null
  T* y = nullptr;                 ///< [M, N], rows y_stride elements apart
  std::int64_t y_stride = 0;
  std::int64_t rows = 0, inputs = 0;  ///< M, K
  std::int64_t first = 0, last = 0;
};

/// The functions below for one instruction set. Each element is one sum over k in order, a fused
/// multiply-add a step, so tiles of other shapes, and other instruction sets, give the same bits.
struct RowKernels {
  void (*make_panels)(const PanelsOfRows& rows);
  void (*multiply)(const RowProduct<float>& product);
};
/// Of this processor; null where it has no AVX2 and fused multiply-adds.
[[nodiscard]] const RowKernels* row_kernels();

/// Products in bf16 take whole steps of so many pairs, filled up with zeros, and whole pairs of
/// panels.
inline constexpr std::int64_t kBf16Pairs = 16, kBf16Panels = 4;
/// The kernel that this processor runs: AMX, else AVX512_BF16; null if it has neither. A row of the
/// result depends on its own row of x alone, but the two kernels round differently.
using Bf16Multiply = void (*)(const RowProduct<Bf16>& product);
[[nodiscard]] Bf16Multiply bf16_multiply();

/// The part of the result that stays in the registers, and the floats of a vector.
struct RowTile {
  int rows, panels, lanes;
};

// row_kernel.cpp is compiled once for each of these namespaces (cmake/ThIsa.cmake).
namespace avx512 {
constexpr RowTile kRowTile{8, 3, 16};
extern const RowKernels kRowKernels;
}  // namespace avx512
namespace avx2 {
constexpr RowTile kRowTile{6, 1, 8};
extern const RowKernels kRowKernels;
}  // namespace avx2
namespace avx512_bf16 {
void multiply_bf16(const RowProduct<Bf16>& product);  // bf16_kernel.cpp
}
namespace amx {
void multiply_bf16(const RowProduct<Bf16>& product);  // amx_kernel.cpp
}

}  // namespace th::model
