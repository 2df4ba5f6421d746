#include "cuda/kernels/host_lanes.hpp"
#include "cuda/kernels/kernels.hpp"
#include "cuda/kernels/launched_ops.hpp"
#include "gpu/device/gpu_memory.hpp"
#include "gpu/kernels/attention_op_exam.hpp"
#include "gpu/kernels/option_kernel_exam.hpp"

// The model's kernels on a GPU against their bodies on the host with as many lanes, which
// unit.cuda_arithmetic compares with the CPU's kernels.
namespace th::cuda {
namespace {

template <typename T>
void examine(const runtime::OpTable<T>& kernels) {
  const runtime::OpTable<T> bodies = launched_ops<T, HostLaunch<GpuOrder>>();
  reference::examine_model_kernels<T, GpuMemory>(kernels, bodies, reference::Sums::kSame);
  reference::examine_option_kernels<T, GpuMemory>(kernels, bodies, reference::Sums::kSame);
  reference::examine_attention_ops<T, GpuMemory>(kernels, bodies);
}

TEST(ModelKernels, HaveTheBitsOfTheirBodiesInFp32) { examine(model_kernels_fp32()); }
TEST(ModelKernels, HaveTheBitsOfTheirBodiesInBf16) { examine(model_kernels_bf16()); }
TEST(ModelKernels, HaveTheBitsOfTheirBodiesInFp16) { examine(model_kernels_fp16()); }

}  // namespace
}  // namespace th::cuda
