#pragma once

#include <cstdint>

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
/// [first, last), fp32.
struct RowProduct {
  const float* x = nullptr;  ///< [M, K], rows x_stride floats apart
  std::int64_t x_stride = 0;
  const float* panels = nullptr;  ///< of the columns from `first` on
  const float* bias = nullptr;    ///< [N], or null
  float* y = nullptr;             ///< [M, N], rows y_stride floats apart
  std::int64_t y_stride = 0;
  std::int64_t rows = 0, inputs = 0;  ///< M, K
  std::int64_t first = 0, last = 0;
};

/// The functions below for one instruction set. Each element is one sum over k in order, a fused
/// multiply-add a step, so tiles of other shapes, and other instruction sets, give the same bits.
struct RowKernels {
  void (*make_panels)(const PanelsOfRows& rows);
  void (*multiply)(const RowProduct& product);
};
/// Of this processor; null where it has no AVX2 and fused multiply-adds.
[[nodiscard]] const RowKernels* row_kernels();

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

}  // namespace th::model
