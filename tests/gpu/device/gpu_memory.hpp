#pragma once

#include "cuda/handles/cuda_handles.hpp"

#include <vector>

namespace th::cuda {

/// Values in a GPU's memory, for tests.
template <typename T>
class GpuArray {
 public:
  explicit GpuArray(const std::vector<T>& values)
      : memory_(static_cast<std::int64_t>(values.size() * sizeof(T))), count_(values.size()) {
    check_cuda(cudaMemcpy(memory_.get(), values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice),
               "cudaMemcpy");
  }
  [[nodiscard]] T* get() const { return static_cast<T*>(memory_.get()); }
  [[nodiscard]] std::vector<T> values() const {
    std::vector<T> out(count_);
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    check_cuda(cudaMemcpy(out.data(), memory_.get(), count_ * sizeof(T), cudaMemcpyDeviceToHost),
               "cudaMemcpy");
    return out;
  }

 private:
  DeviceBuffer memory_;
  std::size_t count_;
};

struct GpuMemory {
  template <typename T>
  using Array = GpuArray<T>;
};

}  // namespace th::cuda
