#include "cuda/kernels/kernels.hpp"

#include "cuda/kernels/device_launch.hpp"
#include "cuda/kernels/flat/elementwise.hpp"

namespace th::cuda {

void update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& operands,
            void* stream) {
  launch_update<DeviceLaunch>(factors, operands, stream);
}

void check_kernel_image() {
  using AnUpdate =
      UpdateElements<runtime::Adam::Factors, runtime::StateIndexes<runtime::Adam>, float, Bf16>;
  cudaFuncAttributes attributes{};
  check_cuda(cudaFuncGetAttributes(&attributes, elements_kernel<1, AnUpdate>),
             "cudaFuncGetAttributes (a kernel of this build on this GPU)");
}

}  // namespace th::cuda
