#include "device_launch.hpp"
#include "fused_attention.hpp"
#include "kernels.hpp"
#include "model_kernel_table.hpp"

namespace th::cuda {

const runtime::ModelKernels<Bf16>& model_kernels_bf16() {
  static const runtime::ModelKernels<Bf16> kTable = [] {
    runtime::ModelKernels<Bf16> table = model_kernel_table<Bf16, DeviceLaunch>();
    if (!device_fuses_attention()) return table;
    table.attention = attention<Bf16>;
    table.attention_backward = attention_backward<Bf16>;
    return table;
  }();
  return kTable;
}

}  // namespace th::cuda
