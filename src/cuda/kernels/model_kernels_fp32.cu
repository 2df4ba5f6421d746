#include "cuda/kernels/device_launch.hpp"
#include "cuda/kernels/kernels.hpp"
#include "cuda/kernels/model_kernel_table.hpp"

namespace th::cuda {

const runtime::ModelKernels<float>& model_kernels_fp32() {
  static constexpr runtime::ModelKernels<float> kTable = model_kernel_table<float, DeviceLaunch>();
  return kTable;
}

}  // namespace th::cuda
