#pragma once

#include <cstdint>

#include "th/model/products/gemm.hpp"

namespace th::zero {

/// What Newton-Schulz iterations on a matrix X [R, C], R >= C, take beside it, floats.
struct OrthogonalizeScratch {
  float* product = nullptr;  ///< R * C
  float* gram = nullptr;     ///< C * C
  float* square = nullptr;   ///< C * C
};

/// Replaces X [R, C], R >= C, row-major and fp32, by a matrix near the orthogonal factor of its
/// polar decomposition: five iterations X <- a X + X (b A + c A A), A = X^T X, a, b, c = 3.4445,
/// -4.7750, 2.0315 (Jordan et al. 2024), after a division by its Frobenius norm, or 1e-7. The
/// norm's sum has one order, and the products are those of whole matrices by `gemm`: the bits
/// depend on the matrix and on the run's identity alone. With a `gemm` of shapes only nothing is
/// read or written, and what its products take beside the matrices comes and goes.
void orthogonalize(const model::Gemm& gemm, float* x, std::int64_t rows, std::int64_t columns,
                   const OrthogonalizeScratch& scratch);

}  // namespace th::zero
