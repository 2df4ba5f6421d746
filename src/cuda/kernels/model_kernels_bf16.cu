#include "cuda/kernels/fused_attention.hpp"
#include "cuda/kernels/kernels.hpp"

namespace th::cuda {

const runtime::OpTable<Bf16>& model_kernels_bf16() {
  static const runtime::OpTable<Bf16> kTable = table_with_attention<Bf16>();
  return kTable;
}

}  // namespace th::cuda
