#include "th/base/build_info.hpp"
#include "th/zero/flat_kernels.hpp"
#include "zero/flat/flat_tables.hpp"

namespace th::zero {

namespace {

/// The table for th::instruction_set().
const FlatTable& table() {
  static const FlatTable& chosen = []() -> const FlatTable& {
#if defined(__x86_64__)
    const std::string isa = instruction_set();
    if (isa == "avx512") return avx512::kFlatTable;
    if (isa == "avx2") return avx2::kFlatTable;
#endif
    return baseline::kFlatTable;
  }();
  return chosen;
}

}  // namespace

void update_elements(const runtime::UpdateFactors& factors, float* weights, const float* gradients,
                     float* const* states, std::int64_t count) {
  table().update_elements(factors, weights, gradients, states, count);
}

void average_elements(const float* weights, float* averages, float rate, std::int64_t count) {
  table().average_elements(weights, averages, rate, count);
}

void block_square_sums(const float* x, std::int64_t blocks, double* out) {
  table().block_square_sums(x, blocks, out);
}

SumFn* sum_kernel() { return table().sum; }

}  // namespace th::zero
