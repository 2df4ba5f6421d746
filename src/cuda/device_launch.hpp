#pragma once

#include "host_lanes.hpp"
#include "launch.hpp"

// The launch of the model's kernels; for nvcc alone.
namespace th::cuda {

/// Half a warp for one row. All its threads come here together.
class RowLanes {
 public:
  template <typename Number, typename Value>
  __device__ Number sum(std::int64_t n, const Value& value) const {
    Number own = 0;
    for (std::int64_t i = lane(); i < n; i += kRowLanes) own += value(i);
    for (int w = kRowLanes / 2; w > 0; w /= 2) own += __shfl_down_sync(mask(), own, static_cast<unsigned>(w), kRowLanes);
    return __shfl_sync(mask(), own, 0, kRowLanes);
  }
  template <typename Value>
  __device__ float maximum(std::int64_t n, const Value& value) const {
    float top = -INFINITY;
    for (std::int64_t i = lane(); i < n; i += kRowLanes) top = value(i) > top ? value(i) : top;
    for (int w = kRowLanes / 2; w > 0; w /= 2) {
      const float other = __shfl_xor_sync(mask(), top, w, kRowLanes);
      top = other > top ? other : top;
    }
    return top;
  }
  template <typename Body>
  __device__ void each(std::int64_t n, const Body& body) const {
    for (std::int64_t i = lane(); i < n; i += kRowLanes) body(i);
  }
  __device__ void meet() const { __syncwarp(mask()); }
  __device__ bool first() const { return lane() == 0; }

 private:
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kRowLanes; }
  __device__ static unsigned mask() { return 0xffffU << (threadIdx.x % 32 / kRowLanes * kRowLanes); }
};

constexpr int kColumnsPerBlock = 32;

/// 16 threads for one column, 32 columns beside each other, so that memory is read in whole lines. All threads of the block come here
/// together.
class ColumnLanes {
 public:
  template <typename Number, typename Value>
  __device__ Number sum(std::int64_t n, const Value& value) const {
    __shared__ Number lanes[kRowLanes][kColumnsPerBlock];
    Number own = 0;
    for (std::int64_t i = threadIdx.y; i < n; i += kRowLanes) own += value(i);
    __syncthreads();  // an earlier sum may still be read
    lanes[threadIdx.y][threadIdx.x] = own;
    for (unsigned w = kRowLanes / 2; w > 0; w /= 2) {
      __syncthreads();
      if (threadIdx.y < w) lanes[threadIdx.y][threadIdx.x] += lanes[threadIdx.y + w][threadIdx.x];
    }
    __syncthreads();
    return lanes[0][threadIdx.x];
  }
  __device__ bool first() const { return threadIdx.y == 0; }
};

template <typename Body>
__global__ void elements_kernel(const Body body, std::int64_t n) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) body(i);
}

template <typename Body>
__global__ void rows_kernel(const Body body, std::int64_t n) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x / kRowLanes;
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kRowLanes;
  for (std::int64_t row = first; row < n; row += stride) body(row, RowLanes());
}

/// The last block's threads beyond the columns take column 0 along and write nothing.
template <typename Body>
__global__ void columns_kernel(const Body body, std::int64_t n) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kColumnsPerBlock + threadIdx.x;
  body(column < n ? column : -1, ColumnLanes());
}

/// Enqueues a kernel's body for all elements, rows or columns. Throws DeviceError with the kernel's name.
struct DeviceLaunch {
  template <typename Body>
  static void elements(const char* name, std::int64_t n, const Body& body, void* stream) {
    if (n == 0) return;
    elements_kernel<<<grid_for(n), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(body, n);
    check_launch(name);
  }
  template <typename Body>
  static void rows(const char* name, std::int64_t n, const Body& body, void* stream) {
    if (n == 0) return;
    rows_kernel<<<grid_for(n * kRowLanes), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(body, n);
    check_launch(name);
  }
  template <typename Body>
  static void columns(const char* name, std::int64_t n, const Body& body, void* stream) {
    if (n == 0) return;
    const auto blocks = static_cast<unsigned>((n + kColumnsPerBlock - 1) / kColumnsPerBlock);
    columns_kernel<<<blocks, dim3(kColumnsPerBlock, kRowLanes), 0, static_cast<cudaStream_t>(stream)>>>(body, n);
    check_launch(name);
  }
};

}  // namespace th::cuda
