#pragma once

#include "th/runtime/device/device.hpp"

namespace th::zero {

/// The device of a CPU run. Its memory is the host's, compute is the calling thread, and other
/// streams are threads. Its kernels are the engine's own code and run when they are called.
class HostDevice : public runtime::Device {
 public:
  [[nodiscard]] runtime::DeviceMemory memory() const noexcept final {
    return runtime::DeviceMemory::kHost;
  }
  [[nodiscard]] void* take(runtime::Place place, std::int64_t bytes) final;
  void give(runtime::Place place, void* memory) noexcept final;
  [[nodiscard]] runtime::Stream& host() override { return caller_; }
  [[nodiscard]] runtime::Stream& compute() override { return caller_; }
  [[nodiscard]] std::unique_ptr<runtime::Stream> make_stream(runtime::StreamUse use) override;
  void update(runtime::Stream& stream, const runtime::UpdateFactors& factors,
              const runtime::UpdateOperands& operands) final;
  void block_square_sums(runtime::Stream& stream, const void* x, ElementType type,
                         std::int64_t blocks, double* out) final;
  void end_step(runtime::Stream& stream, const runtime::StepRecords& records) final;
  void tree_sum(runtime::Stream& stream, const runtime::TreeSum& sum) final;
  void accumulate(runtime::Stream& stream, float* y, const float* x, std::int64_t count) final;
  void round(runtime::Stream& stream, const float* from, ElementType type, void* to,
             std::int64_t count) final;

 private:
  runtime::InlineStream caller_;
};

}  // namespace th::zero
