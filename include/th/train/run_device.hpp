#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/model/memory/compute_device.hpp"
#include "th/model/memory/torch_memory.hpp"
#include "th/model/products/gemm.hpp"
#include "th/runtime/plugin/cuda_plugin.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/transport_memory.hpp"
#include "th/zero/engine_buffers.hpp"

namespace th::train {

/// The device of this rank's tensors, and their transport: the host and MPI, a GPU and NCCL, or a
/// GPU and MPI by way of pinned memory.
class RunDevice {
 public:
  /// Resolves run.device and comm.backend, the same on every rank. auto is a GPU if every rank can
  /// have one (of its own, unless comm.backend is mpi), with a plugin, a driver and a LibTorch for
  /// it; otherwise it is the CPU. `control`, which outlives this object, is the host's transport.
  /// Collective. If the deck asks for a GPU (run.device=cuda, comm.backend=nccl) and there is none,
  /// throws the same DeviceError on every rank.
  RunDevice(const config::RunConfig& config, runtime::Collectives& control);
  ~RunDevice();
  RunDevice(const RunDevice&) = delete;
  RunDevice& operator=(const RunDevice&) = delete;

  [[nodiscard]] bool on_gpu() const noexcept { return device_ != nullptr; }
  /// The tensors' transport.
  [[nodiscard]] runtime::Collectives& collectives() const noexcept {
    return transport_ ? *transport_ : control_;
  }
  /// The engine's device; null: the host.
  [[nodiscard]] runtime::Device* device() const noexcept { return device_.get(); }
  [[nodiscard]] runtime::DeviceMemory memory() const noexcept {
    return on_gpu() ? runtime::DeviceMemory::kOwn : runtime::DeviceMemory::kHost;
  }
  /// The transport of a GPU's tensors; empty: the tensors are the host's.
  [[nodiscard]] std::optional<runtime::Transport> way() const noexcept { return way_; }
  /// The model's device.
  [[nodiscard]] model::ComputeDevice compute() const;
  [[nodiscard]] model::GemmLibrary gemm() const { return model::resolve_gemm(run_.gemm, tensors_); }
  /// The library of a GPU's matrix products, as the run's identity names it: "cublaslt-13.1.0";
  /// empty on the host.
  [[nodiscard]] const std::string& product_library() const noexcept { return product_library_; }
  /// Free bytes of the GPU's memory; 0: unknown, or the host.
  [[nodiscard]] std::int64_t free_memory() const {
    return on_gpu() ? plugin_->kernels().free_memory() : 0;
  }
  /// The device in the run's identity: "cpu", "cuda:NVIDIA-H200" (rank 0's).
  [[nodiscard]] const std::string& kind() const noexcept { return kind_; }
  /// This rank's device: "cpu", "cuda:1 NVIDIA H200".
  [[nodiscard]] const std::string& place() const noexcept { return place_; }
  /// Lines for the header: name and value.
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& lines() const noexcept {
    return lines_;
  }
  /// Why run.device=auto chose the CPU; empty otherwise.
  [[nodiscard]] const std::string& why_cpu() const noexcept { return why_cpu_; }

 private:
  void open(const config::RunConfig& config);

  runtime::Collectives& control_;
  config::RunSection run_;
  c10::Device tensors_{c10::kCPU};
  std::string kind_ = "cpu", place_ = "cpu", why_cpu_, product_library_;
  std::vector<std::pair<std::string, std::string>> lines_;
  std::unique_ptr<runtime::CudaPlugin> plugin_;
  model::KernelSet kernels_;
  /// Only for a stand-in of a GPU, whose tensors are the CPU's.
  std::unique_ptr<model::ActivationLedger> activations_;
  std::unique_ptr<runtime::Device> device_;
  std::unique_ptr<runtime::Collectives> transport_;
  std::optional<runtime::Transport> way_;
};

}  // namespace th::train
