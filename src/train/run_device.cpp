#include "th/train/run_device.hpp"

#include "th/base/error.hpp"
#include "th/model/memory/torch_cuda.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/train/agreement.hpp"
#include "th/zero/whole_matrices.hpp"

#include <algorithm>

namespace th::train {

namespace {

/// LibTorch enqueues its own work there unless it is told otherwise.
constexpr void* kDefaultStream = nullptr;

/// Of a map with a line a rank, "rank 0 on node01: cuda:0 NVIDIA H200 (PCI 0000:19:00.0)": "cuda:0
/// NVIDIA H200".
std::string place_of(int rank, const std::string& map) {
  const std::size_t line = map.find("rank " + std::to_string(rank) + " on ");
  const std::size_t begin = map.find(": cuda:", line) + 2;
  return map.substr(begin, map.find(" (PCI ", begin) - begin);
}

/// "cuda:0 NVIDIA H200" -> "NVIDIA-H200".
std::string name_of(const std::string& place) {
  std::string name = place.substr(place.find(' ') + 1);
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

}  // namespace

RunDevice::RunDevice(const config::RunConfig& config, runtime::Collectives& control)
    : control_(control), run_(config.run) {
  using config::DeviceKind;
  const bool asked =
      config.run.device == DeviceKind::kCuda || config.comm.backend == config::Backend::kNccl;
  if (config.run.device == DeviceKind::kCpu) return;
  if (asked) {
    const char* key =
        config.run.device == DeviceKind::kCuda ? "run.device=cuda" : "comm.backend=nccl";
    try {
      open(config);
    } catch (const DeviceError& error) {
      const std::string text = error.what();
      throw DeviceError(text.find(key) == std::string::npos ? std::string(key) + ": " + text
                                                            : text);
    }
    return;
  }
  for (const std::string& reason : control.control().gather_texts(runtime::why_cpu())) {
    if (why_cpu_.empty()) why_cpu_ = reason;
  }
  if (!why_cpu_.empty()) return;
  try {
    open(config);
  } catch (const Error& error) {
    if (error.exit_code() != ExitCode::kCommunication) throw;
    why_cpu_ = error.what();
    tensors_ = c10::kCPU;
    lines_.clear();
  }
}

RunDevice::~RunDevice() = default;

void RunDevice::open(const config::RunConfig& config) {
  if (config.train.ema_decay > 0)
    throw DeviceError("train.ema_decay: the average is not made on a GPU yet; give run.device=cpu");
  if (zero::updates_whole_tensors(config))
    throw DeviceError(std::string("optimizer.name: ") +
                      runtime::optimizer_name(config.optimizer.name) +
                      " is not computed on a GPU yet; give run.device=cpu");
  if (config.optimizer.state_dtype == ElementType::kBf16)
    throw DeviceError(
        "optimizer.state_dtype: bf16 states are not updated on a GPU yet; give run.device=cpu");
  const bool nccl = config.comm.backend != config::Backend::kMpi;
  run_agreed(control_.control(), [&] { plugin_ = std::make_unique<runtime::CudaPlugin>(); });
  const runtime::CudaPlugin::Selection selection = plugin_->select_device(
      control_, runtime::hostname(),
      nccl ? runtime::DeviceSharing::kForbidden : runtime::DeviceSharing::kAllowed);
  run_agreed(control_.control(), [&] {
    if (plugin_->tensors() == runtime::TensorMemory::kCuda)
      tensors_ = model::load_torch_cuda(selection.device);
  });
  std::string map;
  for (const char c : selection.map) map += c == '\n' ? std::string("; ") : std::string(1, c);
  lines_ = {{"gpus", map}, {"cuda", plugin_->version() + ", " + plugin_->path()}};
  const runtime::CudaKernels& kernels = plugin_->kernels();
  kernels_ = {kernels.fp32, kernels.bf16, kernels.fp16, kDefaultStream, kernels.multiply};
  run_agreed(control_.control(), [&] {
    if (kernels.product_library != nullptr) product_library_ = kernels.product_library();
  });
  std::unique_ptr<runtime::Device> device;
  run_agreed(control_.control(), [&] { device = plugin_->make_device(kDefaultStream); });
  std::unique_ptr<runtime::Collectives> transport;
  if (nccl) {
    transport =
        plugin_->make_nccl_collectives(control_, config.comm.timeout_seconds, kDefaultStream);
    lines_.emplace_back("nccl", plugin_->nccl_self_test(*transport));
  } else {
    run_agreed(control_.control(),
               [&] { transport = plugin_->make_staged_collectives(control_, kDefaultStream); });
  }
  lines_.emplace_back("decoding", "on the host's processors, from a copy of the parameters");
  if (tensors_.is_cpu())
    activations_ = std::make_unique<model::ActivationLedger>(runtime::MemoryLedger::device());
  way_ = nccl ? runtime::Transport::kNccl : runtime::Transport::kStaged;
  transport_ = std::move(transport);
  device_ = std::move(device);
  kind_ = "cuda:" + name_of(place_of(0, selection.map));
  place_ = place_of(control_.rank(), selection.map);
}

model::ComputeDevice RunDevice::compute() const {
  model::ComputeDevice device = model::host_compute(run_);
  if (!on_gpu()) return device;
  return {tensors_, &kernels_, runtime::DeviceMemory::kOwn,
          device.fused_attention && kernels_.bf16->has<op::Attention<Bf16>>(), device_.get()};
}

}  // namespace th::train
