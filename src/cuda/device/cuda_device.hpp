#pragma once

#include <map>
#include <memory>

#include "cuda/handles/cuda_stream.hpp"
#include "th/runtime/device/device.hpp"

namespace th::cuda {

/// The current GPU as the engine's device: memory by cudaMalloc, pinned host memory by
/// cudaHostAlloc. Communication has priority over copies.
class CudaDevice final : public runtime::Device {
 public:
  /// `compute` must outlive the device. Throws DeviceError where there is none.
  explicit CudaDevice(cudaStream_t compute);
  ~CudaDevice() override;
  [[nodiscard]] runtime::DeviceMemory memory() const noexcept override {
    return runtime::DeviceMemory::kOwn;
  }
  [[nodiscard]] void* take(runtime::Place place, std::int64_t bytes) override;
  void give(runtime::Place place, void* memory) noexcept override;
  [[nodiscard]] runtime::Stream& host() override { return caller_; }
  [[nodiscard]] runtime::Stream& compute() override { return compute_; }
  [[nodiscard]] std::unique_ptr<runtime::Stream> make_stream(runtime::StreamUse use) override;
  void settle() override { context_->settle(); }
  void update(runtime::Stream& stream, const runtime::UpdateFactors& factors,
              const runtime::UpdateOperands& operands) override;
  void block_square_sums(runtime::Stream& stream, const void* x, ElementType type,
                         std::int64_t blocks, double* out) override;
  void end_step(runtime::Stream& stream, const runtime::StepRecords& records) override;
  void tree_sum(runtime::Stream& stream, const runtime::TreeSum& sum) override;
  void accumulate(runtime::Stream& stream, float* y, const float* x, std::int64_t count) override;
  void round(runtime::Stream& stream, const float* from, ElementType type, void* to,
             std::int64_t count) override;

 private:
  runtime::InlineStream caller_;
  std::shared_ptr<StreamContext> context_ = std::make_shared<StreamContext>();
  CudaStream compute_;
  std::map<void*, DeviceBuffer> device_blocks_;
  std::map<void*, PinnedBuffer> pinned_blocks_;
};

}  // namespace th::cuda
