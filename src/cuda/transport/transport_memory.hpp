#pragma once

#include "cuda/handles/counted_memory.hpp"
#include "th/runtime/transport/collectives.hpp"

namespace th::cuda {

/// A TransportBuffer in device memory, zeroed in the order of `stream`.
class DeviceTransportBuffer final : public runtime::TransportBuffer {
 public:
  DeviceTransportBuffer(std::int64_t elements, cudaStream_t stream)
      : memory_(elements * 4, runtime::CountedAs::kCallers), elements_(elements) {
    if (elements > 0)
      check_cuda(cudaMemsetAsync(memory_.get(), 0, static_cast<std::size_t>(elements) * 4, stream),
                 "cudaMemsetAsync");
  }
  [[nodiscard]] float* data() noexcept override { return static_cast<float*>(memory_.get()); }
  [[nodiscard]] std::int64_t elements() const noexcept override { return elements_; }

 private:
  Counted<DeviceBuffer> memory_;
  std::int64_t elements_;
};

}  // namespace th::cuda
