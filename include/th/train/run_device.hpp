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

/// Where this rank's tensors live and what moves them: the host and MPI, or a GPU and NCCL, or a
/// GPU and MPI by way of pinned memory.
class RunDevice {
 public:
  /// Resolves run.device and comm.backend, the same on every rank. auto is a GPU where every rank
  /// can have one (of its own, unless comm.backend is mpi), with a plugin, a driver and a LibTorch
  /// that serve it; else the CPU. `control`, which outlives this object, is the host's transport.
  /// Collective. Throws the same DeviceError on every rank where a GPU is asked for
  /// (run.device=cuda, comm.backend=nccl) and cannot be had.
  RunDevice(const config::RunConfig& config, runtime::Collectives& control);
  ~RunDevice();
  RunDevice(const RunDevice&) = delete;
  RunDevice& operator=(const RunDevice&) = delete;

  [[nodiscard]] bool on_gpu() const noexcept { return device_ != nullptr; }
  /// The tensors' transport.
  [[nodiscard]] runtime::Collectives& collectives() const noexcept {
    return transport_ ? *transport_ : control_;
  }
  /// The engine's; null: the host.
  [[nodiscard]] runtime::Device* device() const noexcept { return device_.get(); }
  [[nodiscard]] zero::DeviceMemory memory() const noexcept {
    return on_gpu() ? zero::DeviceMemory::kOwn : zero::DeviceMemory::kHost;
  }
  /// How tensors of a GPU travel; empty: they are the host's.
  [[nodiscard]] std::optional<runtime::Transport> way() const noexcept { return way_; }
  /// The model's.
  [[nodiscard]] model::ComputeDevice compute() const;
  [[nodiscard]] model::GemmLibrary gemm() const { return model::resolve_gemm(run_.gemm, tensors_); }
  /// Whose products a GPU's are, as the run's identity names it: "cublaslt-13.1.0"; else empty.
  [[nodiscard]] const std::string& product_library() const noexcept { return product_library_; }
  /// Bytes of the GPU's memory that are free now; 0: unknown, or the host.
  [[nodiscard]] std::int64_t free_memory() const {
    return on_gpu() ? plugin_->kernels().free_memory() : 0;
  }
  /// As the run's identity names it: "cpu", "cuda:NVIDIA-H200" (of rank 0).
  [[nodiscard]] const std::string& kind() const noexcept { return kind_; }
  /// What this rank computes on: "cpu", "cuda:1 NVIDIA H200".
  [[nodiscard]] const std::string& place() const noexcept { return place_; }
  /// Lines of the header, name and value.
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& lines() const noexcept {
    return lines_;
  }
  /// Why run.device=auto is the CPU; else empty.
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
  /// Of a stand-in, whose tensors are the CPU's.
  std::unique_ptr<model::ActivationLedger> activations_;
  std::unique_ptr<runtime::Device> device_;
  std::unique_ptr<runtime::Collectives> transport_;
  std::optional<runtime::Transport> way_;
};

}  // namespace th::train
