#include "device_launch.hpp"
#include "kernels.hpp"
#include "model_kernel_table.hpp"

namespace th::cuda {

const runtime::ModelKernels<Fp16>& model_kernels_fp16() {
  static constexpr runtime::ModelKernels<Fp16> kTable = model_kernel_table<Fp16, DeviceLaunch>();
  return kTable;
}

}  // namespace th::cuda
