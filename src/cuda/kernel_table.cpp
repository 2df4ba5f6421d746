#include "kernels.hpp"

namespace th::cuda {

const runtime::CudaKernels& kernel_table() {
  static const runtime::CudaKernels kTable{
      adam, sgd, tree_sum, block_square_sums, &model_kernels_fp32(), &model_kernels_bf16(), &model_kernels_fp16()};
  return kTable;
}

}  // namespace th::cuda
