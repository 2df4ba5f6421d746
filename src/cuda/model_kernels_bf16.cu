#include "device_launch.hpp"
#include "kernels.hpp"
#include "model_kernel_table.hpp"

namespace th::cuda {

const runtime::ModelKernels<Bf16>& model_kernels_bf16() {
  static constexpr runtime::ModelKernels<Bf16> kTable = model_kernel_table<Bf16, DeviceLaunch>();
  return kTable;
}

}  // namespace th::cuda
