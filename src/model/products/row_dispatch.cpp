#include "model/products/row_kernel.hpp"
#include "th/base/build_info.hpp"

namespace th::model {

namespace {

const RowKernels* chosen() {
#if defined(__x86_64__)
  const std::string isa = instruction_set();
  if (isa == "avx512") return &avx512::kRowKernels;
  if (isa == "avx2") return &avx2::kRowKernels;
#endif
  return nullptr;
}

}  // namespace

const RowKernels* row_kernels() {
  static const RowKernels* const found = chosen();
  return found;
}

}  // namespace th::model
