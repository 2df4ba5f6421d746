#pragma once

#include <string>

#include "th/runtime/device/matrix_product.hpp"

namespace th::cuda {

/// cuBLASLt, which is loaded with the first call: LibTorch's copy where that is there. Which of its
/// algorithms a product takes depends on shapes, types and alignment alone and is asked for once
/// for each of them, since the asking takes the host longer than the launch; rows of batches count
/// by their product_size_class(). One thread calls.
void multiply(const runtime::MatrixProduct& product, void* workspace, void* stream);
/// Rows for whose products one algorithm serves: the next multiple of 64, above 1024 of 256. Packed
/// batches have another number of rows in every step.
[[nodiscard]] constexpr std::int64_t product_size_class(std::int64_t rows) {
  const std::int64_t unit = rows <= 1024 ? 64 : 256;
  return (rows + unit - 1) / unit * unit;
}
/// "cublaslt-13.1.0". Throws DeviceError when the library cannot be loaded.
[[nodiscard]] std::string matrix_library();

}  // namespace th::cuda
