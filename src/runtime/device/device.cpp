#include "th/runtime/device/device.hpp"

#include "th/runtime/memory/memory_ledger.hpp"

#include <cstring>

namespace th::runtime {

DeviceBlock::DeviceBlock(Device& device, Place place, std::int64_t bytes)
    : device_(&device), place_(place), bytes_(bytes) {
  if (bytes == 0) return;
  memory_ = static_cast<std::byte*>(device.take(place, bytes));
  const bool host = place == Place::kHost || device.memory() == DeviceMemory::kHost;
  note_allocation(memory_, static_cast<std::size_t>(bytes),
                  host ? MemoryLedger::process() : MemoryLedger::device());
  if (host) {
    std::memset(memory_, 0, static_cast<std::size_t>(bytes));
  } else {
    device.compute().clear(memory_, bytes);
  }
}

DeviceBlock& DeviceBlock::operator=(DeviceBlock&& other) noexcept {
  if (this == &other) return *this;
  release();
  device_ = other.device_;
  place_ = other.place_;
  memory_ = std::exchange(other.memory_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

void DeviceBlock::release() noexcept {
  if (memory_ == nullptr) return;
  note_release(memory_);
  device_->give(place_, memory_);
  memory_ = nullptr;
  bytes_ = 0;
}

void copy_now(Device& device, void* to, const void* from, std::int64_t bytes) {
  device.compute().copy(to, from, bytes);
  device.compute().drain();
}

}  // namespace th::runtime
