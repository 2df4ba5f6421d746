#include "cuda/kernels/elementwise.hpp"
#include "cuda/kernels/host_lanes.hpp"
#include "cuda/kernels/kernels.hpp"
#include "cuda/kernels/model_kernel_table.hpp"
#include "gpu/fakes/fake_gpu.hpp"

#include "th/base/error.hpp"
#include "th/model/ops/kernels.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/slot_tree.hpp"

#include <cstdlib>
#include <string>

// libth_cuda.so for machines without a GPU: src/cuda's own plugin, device and transports over the
// fake GPU, whose memory is the host's, and the bodies of the GPU's kernels run on the host.
// LibTorch's tensors are CPU tensors there, so products are those of a CPU run. th_app finds it by
// TH_CUDA_PLUGIN.
//   TH_FAKE_GPUS=N           devices of this machine, 1
//   TH_FAKE_GPU_BYTES=N      free memory that they claim; without it they do not say
//   TH_FAKE_GPU_SUMS=cpu     sums over rows in the CPU's order rather than a GPU's: a run then has
//   the bits of run.device=cpu TH_FAKE_GPU_TENSORS=cuda claims that tensors are CUDA's, which
//   nothing here can make true
namespace th::cuda {

namespace {

bool says(const char* variable, const char* value) {
  const char* text = std::getenv(variable);
  return text != nullptr && std::string(text) == value;
}

/// Before the first call of the plugin's.
const bool kReady = [] {
  fake::reset(fake::Order::kAtOnce, nullptr);
  if (const char* count = std::getenv("TH_FAKE_GPUS"); count != nullptr)
    fake::set_devices(std::atoi(count));
  return true;
}();

template <typename T>
runtime::ModelKernels<T> table() {
  runtime::ModelKernels<T> kernels = model_kernel_table<T, HostLaunch<CpuOrder>>();
  if (!says("TH_FAKE_GPU_SUMS", "cpu")) return kernels;
  kernels.add_column_sums = [](const T* x, float* out, std::int64_t rows, std::int64_t columns,
                               void*) { model::add_column_sums(x, out, rows, columns); };
  kernels.layer_norm_backward = [](const T* g, const T* x, const T* gamma, const float* mean,
                                   const float* rstd, T* g_x, float* g_gamma, float* g_beta,
                                   std::int64_t rows, std::int64_t columns, void*) {
    model::layer_norm_backward(g, x, gamma, mean, rstd, g_x, g_gamma, g_beta, rows, columns);
  };
  return kernels;
}

}  // namespace

int tensor_memory() { return says("TH_FAKE_GPU_TENSORS", "cuda") ? 0 : 1; }
ProductFunctions product_functions() { return {}; }
void check_kernel_image() { ensure(kReady, "the fake GPU is not ready"); }

void update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& operands, void*) {
  launch_update<HostLaunch<CpuOrder>>(factors, operands, nullptr);
}
void end_step(const runtime::StepRecords& records, void*) { zero::end_step(records); }
void tree_sum(const runtime::TreeSum& sum, void*) { zero::tree_sum(sum); }
void block_square_sums(const void* x, runtime::ElementType type, std::int64_t blocks, double* out,
                       void*) {
  zero::block_square_sums(x, type, blocks, out);
}

const runtime::ModelKernels<float>& model_kernels_fp32() {
  static const runtime::ModelKernels<float> kTable = table<float>();
  return kTable;
}
const runtime::ModelKernels<Bf16>& model_kernels_bf16() {
  static const runtime::ModelKernels<Bf16> kTable = table<Bf16>();
  return kTable;
}
const runtime::ModelKernels<Fp16>& model_kernels_fp16() {
  static const runtime::ModelKernels<Fp16> kTable = table<Fp16>();
  return kTable;
}

}  // namespace th::cuda
