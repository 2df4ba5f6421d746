#include "th/zero/host_device.hpp"

#include "th/zero/optimizer.hpp"
#include "th/zero/slot_tree.hpp"

#include <cstdlib>
#include <cstring>
#include <new>

namespace th::zero {

namespace {

class HostEvent final : public runtime::DeviceEvent {
 public:
  void record(runtime::DeviceQueue&) override {}
  void wait() override {}
};

class HostQueue final : public runtime::DeviceQueue {
 public:
  void copy(void* to, const void* from, std::int64_t bytes) override {
    if (to != from) std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }
  void clear(void* memory, std::int64_t bytes) override { std::memset(memory, 0, static_cast<std::size_t>(bytes)); }
  void wait(runtime::DeviceEvent&) override {}
  void synchronize() override {}
};

}  // namespace

HostDevice::HostDevice() : compute_(std::make_unique<HostQueue>()) {}
HostDevice::~HostDevice() = default;

void* HostDevice::take(runtime::Place, std::int64_t bytes) {
  constexpr std::size_t kAlignment = 64;
  void* memory = std::aligned_alloc(kAlignment, (static_cast<std::size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void HostDevice::give(runtime::Place, void* memory) noexcept { std::free(memory); }
std::unique_ptr<runtime::DeviceQueue> HostDevice::make_queue() { return std::make_unique<HostQueue>(); }
std::unique_ptr<runtime::DeviceEvent> HostDevice::make_event() { return std::make_unique<HostEvent>(); }

void HostDevice::update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& operands) { apply_update(factors, operands); }
void HostDevice::block_square_sums(const void* x, runtime::ElementType type, std::int64_t blocks, double* out) {
  zero::block_square_sums(x, type, blocks, out);
}
void HostDevice::tree_sum(const runtime::TreeSum& sum) { zero::tree_sum(sum); }
void HostDevice::accumulate(float* y, const float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] += x[i];
}
void HostDevice::round(const float* from, runtime::ElementType type, void* to, std::int64_t count) {
  round_elements(from, type, to, count);
}

}  // namespace th::zero
