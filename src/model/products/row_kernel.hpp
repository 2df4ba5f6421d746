#pragma once

#include <cstdint>

// Products of linear layers in which each row of the result depends on its own row of inputs alone:
// never on how many rows there are, on their order, or on the number of threads.
namespace th::model {

/// y[m, n] = sum over k of x[m, k] weight[n, k], + bias[n], for all M rows and the columns
/// [first, last), fp32. The weight is read as torch.nn.Linear keeps it, so nothing is packed
/// before.
struct RowProduct {
  const float* x = nullptr;  ///< [M, K], rows x_stride floats apart
  std::int64_t x_stride = 0;
  const float* weight = nullptr;  ///< [N, K], rows weight_stride floats apart
  std::int64_t weight_stride = 0;
  const float* bias = nullptr;  ///< [N], or null
  float* y = nullptr;           ///< [M, N], rows y_stride floats apart
  std::int64_t y_stride = 0;
  std::int64_t rows = 0, inputs = 0;  ///< M, K
  std::int64_t first = 0, last = 0;   ///< columns to compute
};

/// Whether the processor has what multiply_rows() is compiled for: AVX2 and fused multiply-adds.
[[nodiscard]] bool has_row_products();
/// Each element is a sum of `lanes` partial sums, which go through k in order by fused
/// multiply-adds and are added pairwise. The order is the same for every element, so tiles of other
/// shapes give the same bits. Another instruction set has other lanes, and rounds otherwise.
void multiply_rows(const RowProduct& product);

/// The part of the result that one instruction set keeps in its registers, and the floats of a
/// vector.
struct RowTile {
  int rows, columns, lanes;
};

// row_kernel.cpp is compiled once for each of these namespaces (cmake/ThIsa.cmake).
namespace avx512 {
constexpr RowTile kRowTile{4, 4, 16};
void multiply_rows(const RowProduct& product);
}  // namespace avx512
namespace avx2 {
constexpr RowTile kRowTile{3, 3, 8};
void multiply_rows(const RowProduct& product);
}  // namespace avx2

}  // namespace th::model
