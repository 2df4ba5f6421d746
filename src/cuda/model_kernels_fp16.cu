#include "device_launch.hpp"
#include "fused_attention.hpp"
#include "kernels.hpp"
#include "model_kernel_table.hpp"

namespace th::cuda {

const runtime::ModelKernels<Fp16>& model_kernels_fp16() {
  static const runtime::ModelKernels<Fp16> kTable = [] {
    runtime::ModelKernels<Fp16> table = model_kernel_table<Fp16, DeviceLaunch>();
    if (!device_fuses_attention()) return table;
    table.attention = attention<Fp16>;
    table.attention_backward = attention_backward<Fp16>;
    return table;
  }();
  return kTable;
}

}  // namespace th::cuda
