#pragma once

#include <memory>
#include <string>
#include <vector>

#include "th/runtime/plugin/cuda_plugin_abi.hpp"
#include "th/runtime/transport/collectives.hpp"

namespace th::runtime {

/// Whether several ranks may share a GPU. NCCL refuses that; the transport that stages through the
/// host allows it.
enum class DeviceSharing { kForbidden, kAllowed };

/// The kind of LibTorch's tensors over device memory. kCpu: those of a stand-in for tests, whose
/// device memory is the host's.
enum class TensorMemory { kCuda, kCpu };

/// The CUDA part of th_app, libth_cuda.so, loaded only when a run asks for it: a program linked to
/// CUDA starts later and is larger. The library stays loaded until the process ends, so what it
/// made may outlive this object.
class CudaPlugin {
 public:
  /// Loads the library from the first of `folders` that holds it. Throws DeviceError if none has
  /// it, or if it cannot be loaded or is of another build.
  explicit CudaPlugin(const std::vector<std::string>& folders = default_folders());

  /// The folder of the running program, and lib, lib64 and the build's library folder beside it. If
  /// TH_CUDA_PLUGIN is set, only that.
  [[nodiscard]] static std::vector<std::string> default_folders();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// "0.1.0, CUDA 13.0, NCCL 2.28.9".
  [[nodiscard]] std::string version() const;
  /// One line for each device. Throws DeviceError if there is no NVIDIA driver or no GPU.
  [[nodiscard]] std::vector<std::string> devices() const;

  struct Selection {
    int device = 0;   ///< of this rank; the current one from now on
    std::string map;  ///< a line a rank: "rank 0 on node01: cuda:0 NVIDIA H200 (PCI 0000:19:00.0)"
  };
  /// Gives each rank a device. Collective. Throws DeviceError on every rank if a node has more
  /// ranks than GPUs, or a rank has none.
  [[nodiscard]] Selection select_device(Collectives& control, const std::string& host,
                                        DeviceSharing sharing) const;

  /// The transport over NCCL on this rank's device. Small calls go to `control`, which must outlive
  /// the result. Its buffers are device memory, and its work is enqueued on `compute_stream` (a
  /// cudaStream_t), or on the stream that use_stream() names. Collective. Throws DeviceError on
  /// every rank.
  [[nodiscard]] std::unique_ptr<Collectives> make_nccl_collectives(Collectives& control,
                                                                   double timeout_seconds,
                                                                   void* compute_stream) const;
  /// The transport through pinned host memory and `control`, which must outlive the result. Ranks
  /// may share a device. Its buffers are memory of the current device, its work is enqueued as that
  /// of NCCL's transport is, and its calls make the host wait. Throws DeviceError.
  [[nodiscard]] std::unique_ptr<Collectives> make_staged_collectives(Collectives& control,
                                                                     void* compute_stream) const;
  /// Makes one call of each kind with a known answer, and returns the measured rates. Collective.
  /// Throws DeviceError.
  [[nodiscard]] std::string nccl_self_test(Collectives& nccl) const;
  /// The current device for buffers and states of the engine; `compute_stream` must outlive it.
  /// Throws DeviceError.
  [[nodiscard]] std::unique_ptr<Device> make_device(void* compute_stream) const;
  [[nodiscard]] TensorMemory tensors() const;
  /// Kernels with the CPU's bits.
  [[nodiscard]] const CudaKernels& kernels() const;

 private:
  void open(const std::string& path);

  std::string path_;
  th_cuda_plugin_version_fn* version_ = nullptr;
  th_cuda_devices_fn* devices_ = nullptr;
  th_cuda_select_device_fn* select_device_ = nullptr;
  th_cuda_make_nccl_collectives_fn* make_nccl_collectives_ = nullptr;
  th_cuda_make_staged_collectives_fn* make_staged_collectives_ = nullptr;
  th_cuda_nccl_self_test_fn* nccl_self_test_ = nullptr;
  th_cuda_make_device_fn* make_device_ = nullptr;
  th_cuda_tensors_fn* tensors_ = nullptr;
  th_cuda_kernels_fn* kernels_ = nullptr;
};

/// The calls by which a plugin's transports reach this program's ledger.
[[nodiscard]] LedgerCalls ledger_calls() noexcept;

/// Why run.device=auto is the CPU on this machine: no driver, no plugin, or no GPU; empty: there is
/// a GPU. `driver` is the folder that NVIDIA's driver makes; without it nothing is loaded, unless
/// TH_CUDA_PLUGIN names a plugin. Does not throw.
[[nodiscard]] std::string why_cpu(const std::string& driver = "/proc/driver/nvidia");

/// The devices for --version: "cpu", then a line for each GPU, or "cpu (cuda: why there is none)".
/// Does not throw.
[[nodiscard]] std::string device_list_text();

}  // namespace th::runtime
