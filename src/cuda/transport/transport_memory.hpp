#pragma once

#include "cuda/handles/counted_memory.hpp"
#include "th/runtime/transport/collectives.hpp"

namespace th::cuda {

inline std::size_t as_size(std::int64_t bytes) { return static_cast<std::size_t>(bytes); }

/// A TransportBuffer in device memory, zeroed in the order of `stream`.
class DeviceTransportBuffer final : public runtime::TransportBuffer {
 public:
  DeviceTransportBuffer(std::int64_t bytes, cudaStream_t stream)
      : memory_(bytes, runtime::CountedAs::kCallers), bytes_(bytes) {
    if (bytes > 0)
      check_cuda(cudaMemsetAsync(memory_.get(), 0, as_size(bytes), stream), "cudaMemsetAsync");
  }
  [[nodiscard]] std::byte* data() noexcept override {
    return static_cast<std::byte*>(memory_.get());
  }
  [[nodiscard]] std::int64_t bytes() const noexcept override { return bytes_; }

 private:
  Counted<DeviceBuffer> memory_;
  std::int64_t bytes_;
};

}  // namespace th::cuda
