#pragma once

#include <cstdint>

#include "th/runtime/optimizers/optimizer_rules.hpp"
#include "th/zero/flat_kernels.hpp"

namespace th::zero {

/// The loops over flat fp32 buffers (th/zero/flat_kernels.hpp), compiled for one instruction set.
struct FlatTable {
  void (*update_elements)(const runtime::UpdateFactors& factors, float* weights,
                          const float* gradients, float* const* states, std::int64_t count);
  void (*average_elements)(const float* weights, float* averages, float rate, std::int64_t count);
  void (*block_square_sums)(const float* x, std::int64_t blocks, double* out);
  SumFn* sum;
};

// flat_kernels.cpp is compiled once for each of these namespaces (cmake/ThIsa.cmake).
namespace avx512 {
extern const FlatTable kFlatTable;
}
namespace avx2 {
extern const FlatTable kFlatTable;
}
namespace baseline {
extern const FlatTable kFlatTable;
}

}  // namespace th::zero
