#pragma once

#include <map>
#include <memory>

#include "cuda_handles.hpp"
#include "th/runtime/device.hpp"

namespace th::cuda {

/// The current GPU as the engine's device: memory by cudaMalloc, pinned host memory by cudaHostAlloc, queues are streams.
class CudaDevice final : public runtime::Device {
 public:
  /// `compute` must outlive the device. Throws DeviceError where there is none.
  explicit CudaDevice(cudaStream_t compute);
  ~CudaDevice() override;
  [[nodiscard]] bool is_host() const noexcept override { return false; }
  [[nodiscard]] void* take(runtime::Place place, std::int64_t bytes) override;
  void give(runtime::Place place, void* memory) noexcept override;
  [[nodiscard]] runtime::DeviceQueue& compute() override { return *compute_; }
  [[nodiscard]] std::unique_ptr<runtime::DeviceQueue> make_queue() override;
  [[nodiscard]] std::unique_ptr<runtime::DeviceEvent> make_event() override;
  void update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& operands) override;
  void block_square_sums(const void* x, runtime::ElementType type, std::int64_t blocks, double* out) override;
  void tree_sum(const runtime::TreeSum& sum) override;
  void accumulate(float* y, const float* x, std::int64_t count) override;
  void round(const float* from, runtime::ElementType type, void* to, std::int64_t count) override;

 private:
  cudaStream_t stream_;
  std::unique_ptr<runtime::DeviceQueue> compute_;
  std::map<void*, DeviceBuffer> device_blocks_;
  std::map<void*, PinnedBuffer> pinned_blocks_;
};

}  // namespace th::cuda
