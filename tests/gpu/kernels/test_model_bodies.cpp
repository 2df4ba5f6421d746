#include "cuda/kernels/host_lanes.hpp"
#include "cuda/kernels/model_kernel_table.hpp"
#include "gpu/kernels/model_kernel_exam.hpp"
#include "model/ops/host_kernel_table.hpp"

// The bodies of the GPU's kernels, run on the host, against the CPU's kernels: what a GPU adds is
// the launch and the lanes' shuffles.
namespace th::cuda {
namespace {

template <typename T>
void examine() {
  const runtime::ModelKernels<T> table = model_kernel_table<T, HostLaunch<CpuOrder>>();
  reference::examine_model_kernels<T, reference::HostMemory>(table, model::host_kernel_table<T>(),
                                                             reference::Sums::kOtherOrder);
}

TEST(ModelBodies, HaveTheBitsOfTheCpuInFp32) { examine<float>(); }
TEST(ModelBodies, HaveTheBitsOfTheCpuInBf16) { examine<Bf16>(); }
TEST(ModelBodies, HaveTheBitsOfTheCpuInFp16) { examine<Fp16>(); }

}  // namespace
}  // namespace th::cuda
