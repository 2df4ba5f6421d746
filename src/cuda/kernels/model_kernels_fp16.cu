#include "cuda/kernels/fused_attention.hpp"
#include "cuda/kernels/kernels.hpp"

namespace th::cuda {

const runtime::OpTable<Fp16>& model_kernels_fp16() {
  static const runtime::OpTable<Fp16> kTable = table_with_attention<Fp16>();
  return kTable;
}

}  // namespace th::cuda
