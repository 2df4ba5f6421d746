#include "cuda/kernels/host_lanes.hpp"
#include "cuda/kernels/launched_ops.hpp"
#include "gpu/kernels/attention_op_exam.hpp"
#include "gpu/kernels/option_kernel_exam.hpp"
#include "th/model/ops/host_ops.hpp"

// The bodies of the GPU's kernels, run on the host, against the CPU's kernels: what a GPU adds is
// the launch and the lanes' shuffles.
namespace th::cuda {
namespace {

template <typename T>
void examine() {
  const runtime::OpTable<T> table = launched_ops<T, HostLaunch<CpuOrder>>();
  reference::examine_model_kernels<T, reference::HostMemory>(table, model::host_ops<T>(),
                                                             reference::Sums::kOtherOrder);
  reference::examine_option_kernels<T, reference::HostMemory>(table, model::host_ops<T>(),
                                                              reference::Sums::kOtherOrder);
  reference::examine_attention_ops<T, reference::HostMemory>(table, model::host_ops<T>());
}

TEST(ModelBodies, HaveTheBitsOfTheCpuInFp32) { examine<float>(); }
TEST(ModelBodies, HaveTheBitsOfTheCpuInBf16) { examine<Bf16>(); }
TEST(ModelBodies, HaveTheBitsOfTheCpuInFp16) { examine<Fp16>(); }

}  // namespace
}  // namespace th::cuda
