#include "cuda/kernels/device_launch.hpp"
#include "cuda/kernels/kernels.hpp"
#include "cuda/kernels/launched_ops.hpp"

namespace th::cuda {

const runtime::OpTable<float>& model_kernels_fp32() {
  static constexpr runtime::OpTable<float> kTable = launched_ops<float, DeviceLaunch>();
  return kTable;
}

}  // namespace th::cuda
