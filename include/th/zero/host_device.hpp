#pragma once

#include "th/runtime/device.hpp"

namespace th::zero {

/// The device of a CPU run: its memory is the host's, its queues run what they get at once, its kernels are the engine's own code.
class HostDevice final : public runtime::Device {
 public:
  HostDevice();
  ~HostDevice() override;
  [[nodiscard]] bool is_host() const noexcept override { return true; }
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
  std::unique_ptr<runtime::DeviceQueue> compute_;
};

}  // namespace th::zero
