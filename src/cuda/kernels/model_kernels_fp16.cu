#include "cuda/kernels/fused_attention.hpp"
#include "cuda/kernels/kernels.hpp"

namespace th::cuda {

const runtime::ModelKernels<Fp16>& model_kernels_fp16() {
  static const runtime::ModelKernels<Fp16> kTable = table_with_attention<Fp16>();
  return kTable;
}

}  // namespace th::cuda
