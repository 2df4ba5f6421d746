#include "kernels.hpp"

namespace th::cuda {

const runtime::CudaKernels& kernel_table() {
  static constexpr runtime::CudaKernels kTable{adam, sgd, tree_sum, block_square_sums};
  return kTable;
}

}  // namespace th::cuda
