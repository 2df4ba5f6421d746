#pragma once

#include <string>

#include "th/runtime/matrix_product.hpp"

namespace th::cuda {

/// cuBLASLt, which is loaded with the first call: LibTorch's copy where that is there. Which of its algorithms a product takes depends on shapes,
/// types and alignment alone and is asked for once for each of them, since the asking takes the host longer than the launch. One thread calls.
void multiply(const runtime::MatrixProduct& product, void* workspace, void* stream);
/// "cublaslt-13.1.0". Throws DeviceError when the library cannot be loaded.
[[nodiscard]] std::string matrix_library();

}  // namespace th::cuda
