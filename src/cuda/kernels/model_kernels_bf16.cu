#include "cuda/kernels/fused_attention.hpp"
#include "cuda/kernels/kernels.hpp"

namespace th::cuda {

const runtime::ModelKernels<Bf16>& model_kernels_bf16() {
  static const runtime::ModelKernels<Bf16> kTable = table_with_attention<Bf16>();
  return kTable;
}

}  // namespace th::cuda
