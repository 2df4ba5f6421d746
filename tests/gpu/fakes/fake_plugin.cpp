#include "cuda/kernels/flat/elementwise.hpp"
#include "cuda/kernels/host_lanes.hpp"
#include "cuda/kernels/kernels.hpp"
#include "cuda/kernels/launched_ops.hpp"
#include "gpu/fakes/fake_gpu.hpp"

#include "th/base/error.hpp"
#include "th/model/ops/host_ops.hpp"
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
runtime::OpTable<T> table() {
  runtime::OpTable<T> ops = launched_ops<T, HostLaunch<CpuOrder>>();
  if (!says("TH_FAKE_GPU_SUMS", "cpu")) return ops;
  ops.template replace<op::AddColumnSums<T>>(
      [](const op::AddColumnSums<T>& o, void*) { model::compute(o); });
  ops.template replace<op::LayerNormBackward<T>>(
      [](const op::LayerNormBackward<T>& o, void*) { model::compute(o); });
  ops.template replace<op::RmsNormBackward<T>>(
      [](const op::RmsNormBackward<T>& o, void*) { model::compute(o); });
  return ops;
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
void block_square_sums(const void* x, ElementType type, std::int64_t blocks, double* out, void*) {
  zero::block_square_sums(x, type, blocks, out);
}

const runtime::OpTable<float>& model_kernels_fp32() {
  static const runtime::OpTable<float> kTable = table<float>();
  return kTable;
}
const runtime::OpTable<Bf16>& model_kernels_bf16() {
  static const runtime::OpTable<Bf16> kTable = table<Bf16>();
  return kTable;
}
const runtime::OpTable<Fp16>& model_kernels_fp16() {
  static const runtime::OpTable<Fp16> kTable = table<Fp16>();
  return kTable;
}

}  // namespace th::cuda
