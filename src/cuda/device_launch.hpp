#pragma once

#include "element_bodies.hpp"
#include "host_lanes.hpp"
#include "launch.hpp"

// The launch of the model's kernels; for nvcc alone.
namespace th::cuda {

/// Copies a row into shared memory by `lanes` threads, 16 bytes at a time where it begins and ends at 16 bytes.
template <typename T>
__device__ void copy_row(T* to, const T* row, std::int64_t n, int lane, int lanes) {
  const std::int64_t bytes = n * static_cast<std::int64_t>(sizeof(T));
  if ((reinterpret_cast<std::uintptr_t>(row) | reinterpret_cast<std::uintptr_t>(to) | static_cast<std::uintptr_t>(bytes)) % 16 == 0) {
    for (std::int64_t i = lane; i < bytes / 16; i += lanes) reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(row)[i];
  } else {
    for (std::int64_t i = lane; i < n; i += lanes) to[i] = row[i];
  }
}

/// Half a warp for one row. All its threads come here together. `memory`: room for the rows that the body stages, or null: they stay where they are.
class RowLanes {
 public:
  __device__ RowLanes(unsigned char* memory, std::int64_t row_bytes) : memory_(memory), row_bytes_(row_bytes) {}
  template <typename Number, typename Value>
  __device__ Number sum(std::int64_t n, const Value& value) const {
    Number own = 0;
#pragma unroll 8
    for (std::int64_t i = lane(); i < n; i += kRowLanes) own += value(i);
    for (int w = kRowLanes / 2; w > 0; w /= 2) own += __shfl_down_sync(mask(), own, static_cast<unsigned>(w), kRowLanes);
    return __shfl_sync(mask(), own, 0, kRowLanes);
  }
  template <typename Value>
  __device__ float maximum(std::int64_t n, const Value& value) const {
    float top = -INFINITY;
#pragma unroll 4
    for (std::int64_t i = lane(); i < n; i += kRowLanes) top = value(i) > top ? value(i) : top;
    for (int w = kRowLanes / 2; w > 0; w /= 2) {
      const float other = __shfl_xor_sync(mask(), top, w, kRowLanes);
      top = other > top ? other : top;
    }
    return top;
  }
  template <typename Body>
  __device__ void each(std::int64_t n, const Body& body) const {
#pragma unroll 4
    for (std::int64_t i = lane(); i < n; i += kRowLanes) body(i);
  }
  template <typename T>
  __device__ const T* stage(int place, const T* row, std::int64_t n) const {
    if (memory_ == nullptr) return row;
    T* to = reinterpret_cast<T*>(memory_ + place * row_bytes_);
    __syncwarp(mask());  // the row before may still be read
    copy_row(to, row, n, lane(), kRowLanes);
    __syncwarp(mask());
    return to;
  }
  __device__ void meet() const { __syncwarp(mask()); }
  __device__ bool first() const { return lane() == 0; }

 private:
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kRowLanes; }
  __device__ static unsigned mask() { return 0xffffU << (threadIdx.x % 32 / kRowLanes * kRowLanes); }
  unsigned char* memory_;
  std::int64_t row_bytes_;
};

/// A block of kWideLanes threads for one long row. All of them come here together.
class BlockLanes {
 public:
  template <typename Number, typename Value>
  __device__ Number sum(std::int64_t n, const Value& value) const {
    __shared__ Number lanes[kWideLanes];
    Number own = 0;
#pragma unroll 4
    for (std::int64_t i = threadIdx.x; i < n; i += kWideLanes) own += value(i);
    __syncthreads();  // an earlier sum may still be read
    lanes[threadIdx.x] = own;
    for (unsigned w = kWideLanes / 2; w > 0; w /= 2) {
      __syncthreads();
      if (threadIdx.x < w) lanes[threadIdx.x] += lanes[threadIdx.x + w];
    }
    __syncthreads();
    return lanes[0];
  }
  template <typename Value>
  __device__ float maximum(std::int64_t n, const Value& value) const {
    __shared__ float lanes[kWideLanes];
    float top = -INFINITY;
#pragma unroll 4
    for (std::int64_t i = threadIdx.x; i < n; i += kWideLanes) top = value(i) > top ? value(i) : top;
    __syncthreads();
    lanes[threadIdx.x] = top;
    for (unsigned w = kWideLanes / 2; w > 0; w /= 2) {
      __syncthreads();
      if (threadIdx.x < w && lanes[threadIdx.x + w] > lanes[threadIdx.x]) lanes[threadIdx.x] = lanes[threadIdx.x + w];
    }
    __syncthreads();
    return lanes[0];
  }
  template <typename Body>
  __device__ void each(std::int64_t n, const Body& body) const {
#pragma unroll 4
    for (std::int64_t i = threadIdx.x; i < n; i += kWideLanes) body(i);
  }
  __device__ void meet() const { __syncthreads(); }
  __device__ bool first() const { return threadIdx.x == 0; }
};

template <int N, typename Body>
__global__ void elements_kernel(const Body body, std::int64_t n) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += stride) body.template run<N>(i * N);
}

template <typename Body>
__global__ void rows_kernel(const Body body, std::int64_t n, std::int64_t row_bytes) {
  extern __shared__ __align__(16) unsigned char memory[];
  const int in_block = static_cast<int>(threadIdx.x) / kRowLanes, rows_of_block = static_cast<int>(blockDim.x) / kRowLanes;
  unsigned char* own = row_bytes == 0 ? nullptr : memory + in_block * Body::kStages * row_bytes;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * rows_of_block;
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * rows_of_block + in_block; row < n; row += stride) body(row, RowLanes(own, row_bytes));
}

template <typename Body>
__global__ void __launch_bounds__(kWideLanes) long_rows_kernel(const Body body) {
  body(static_cast<std::int64_t>(blockIdx.x), BlockLanes());
}

/// Columns of one block of a sum over rows: whole sectors of memory for packs of them.
template <int N>
inline constexpr int kColumnsPerBlock = N == 1 ? 4 : 16;

/// kWideLanes threads for a pack of N columns: each adds every kWideLanes-th row, then a tree.
template <int N, typename Body>
__global__ void __launch_bounds__(kColumnsPerBlock<N> / N * kWideLanes) columns_kernel(const Body body) {
  constexpr int kColumns = kColumnsPerBlock<N>, kRow = Body::kSums * kColumns, kThreadCount = kColumns / N * kWideLanes;
  __shared__ float lanes[kWideLanes][kRow];
  const int pack = static_cast<int>(threadIdx.x) % (kColumns / N), lane = static_cast<int>(threadIdx.x) / (kColumns / N);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kColumns;
  const std::int64_t d = first + pack * N;
  float own[Body::kSums][N] = {};
  if (d < body.columns) {
#pragma unroll 4
    for (std::int64_t m = lane; m < body.rows; m += kWideLanes) body.template add<N>(m, d, own);
  }
  for (int s = 0; s < Body::kSums; ++s) {
    for (int j = 0; j < N; ++j) lanes[lane][s * kColumns + pack * N + j] = own[s][j];
  }
  for (int w = kWideLanes / 2; w > 0; w /= 2) {
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < w * kRow; i += kThreadCount) (&lanes[0][0])[i] += (&lanes[w][0])[i];
  }
  __syncthreads();
  const int column = static_cast<int>(threadIdx.x);
  if (column >= kRow || first + column % kColumns >= body.columns) return;
  body.write(first + column % kColumns, column / kColumns, lanes[0][column]);
}

constexpr int kIdThreads = 128;

/// A block for each row: the block of an id's first row finds the later ones, 128 rows at a time, and adds all in their order.
template <typename Body>
__global__ void __launch_bounds__(kIdThreads) ids_kernel(const Body body) {
  constexpr int kWarps = kIdThreads / 32, kColumns = 4;  // columns of a thread
  __shared__ unsigned found[kWarps];
  const std::int64_t m = blockIdx.x, id = body.ids[m];
  if (id == 0) return;
  for (std::int64_t begin = 0; begin < m; begin += kIdThreads) {
    const std::int64_t row = begin + threadIdx.x;
    if (__syncthreads_or(row < m && body.ids[row] == id) != 0) return;
  }
  for (std::int64_t d0 = 0; d0 < body.width; d0 += kIdThreads * kColumns) {
    float own[kColumns];
    const auto each = [&](const auto& work) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const std::int64_t d = d0 + j * kIdThreads + threadIdx.x;
        if (d < body.width) work(j, d);
      }
    };
    each([&](int j, std::int64_t d) { own[j] = body.g_weight[id * body.width + d]; });
    for (std::int64_t begin = m; begin < body.rows; begin += kIdThreads) {
      const std::int64_t row = begin + threadIdx.x;
      const unsigned same = __ballot_sync(0xffffffffU, row < body.rows && body.ids[row] == id);
      __syncthreads();  // the rows before are added
      if (threadIdx.x % 32 == 0) found[threadIdx.x / 32] = same;
      __syncthreads();
      for (int w = 0; w < kWarps; ++w) {
        for (unsigned left = found[w]; left != 0; left &= left - 1) {
          const std::int64_t at = begin + w * 32 + __ffs(static_cast<int>(left)) - 1;
          each([&](int j, std::int64_t d) { own[j] += body.term(at, d); });
        }
      }
    }
    each([&](int j, std::int64_t d) { body.g_weight[id * body.width + d] = own[j]; });
  }
}

/// One block: it reads together and adds in order.
inline __global__ void total_kernel(const double* x, double* out, std::int64_t n) {
  __shared__ double values[kThreads];
  double sum = 0;
  for (std::int64_t begin = 0; begin < n; begin += kThreads) {
    const std::int64_t count = n - begin < kThreads ? n - begin : kThreads;
    __syncthreads();
    if (threadIdx.x < count) values[threadIdx.x] = x[begin + threadIdx.x];
    __syncthreads();
    if (threadIdx.x != 0) continue;
#pragma unroll 16
    for (int i = 0; i < static_cast<int>(count); ++i) sum += values[i];
  }
  if (threadIdx.x == 0) *out += sum;
}

/// Enqueues a kernel's body for all elements, rows or columns. Throws DeviceError with the kernel's name.
struct DeviceLaunch {
  template <typename Body>
  static void elements(const char* name, std::int64_t n, const Body& body, void* stream) {
    if (n == 0) return;
    if (n % Body::kPack == 0 && body.packs()) {
      elements_kernel<Body::kPack><<<grid_for(n / Body::kPack), kThreads, 0, on(stream)>>>(body, n / Body::kPack);
    } else {
      elements_kernel<1><<<grid_for(n), kThreads, 0, on(stream)>>>(body, n);
    }
    check_launch(name);
  }
  template <typename Body>
  static void rows(const char* name, std::int64_t n, std::int64_t columns, const Body& body, void* stream) {
    if (n == 0) return;
    constexpr std::int64_t kRoom = 48 << 10;  // bytes of shared memory that any kernel may have
    std::int64_t row_bytes = (columns * static_cast<std::int64_t>(sizeof(typename Body::Staged)) + 15) / 16 * 16;
    if (Body::kStages == 0 || 2 * Body::kStages * row_bytes > kRoom) row_bytes = 0;  // a warp has two rows
    const std::int64_t row_room = Body::kStages * row_bytes;
    const std::int64_t room_for = kRoom / std::max<std::int64_t>(row_room, 1) / 2 * 2;
    const std::int64_t together = std::clamp<std::int64_t>(room_for, 2, kThreads / kRowLanes);
    const auto blocks = static_cast<unsigned>(std::clamp<std::int64_t>((n + together - 1) / together, 1, 1 << 20));
    rows_kernel<<<blocks, static_cast<unsigned>(together * kRowLanes), static_cast<std::size_t>(together * row_room), on(stream)>>>(body, n, row_bytes);
    check_launch(name);
  }
  template <typename Body>
  static void long_rows(const char* name, std::int64_t n, const Body& body, void* stream) {
    if (n == 0) return;
    long_rows_kernel<<<static_cast<unsigned>(n), kWideLanes, 0, on(stream)>>>(body);
    check_launch(name);
  }
  /// Sums over body.rows of body.columns.
  template <typename Body>
  static void columns(const char* name, const Body& body, void* stream) {
    if (body.columns == 0) return;
    body.packs() ? launch_columns<Body::kPack>(body, stream) : launch_columns<1>(body, stream);
    check_launch(name);
  }
  template <typename Body>
  static void ids(const char* name, const Body& body, void* stream) {
    if (body.rows == 0) return;
    ids_kernel<<<static_cast<unsigned>(body.rows), kIdThreads, 0, on(stream)>>>(body);
    check_launch(name);
  }
  static void total(const char* name, const double* x, double* out, std::int64_t n, void* stream) {
    total_kernel<<<1, kThreads, 0, on(stream)>>>(x, out, n);
    check_launch(name);
  }

 private:
  static cudaStream_t on(void* stream) { return static_cast<cudaStream_t>(stream); }
  template <int N, typename Body>
  static void launch_columns(const Body& body, void* stream) {
    constexpr int kColumns = kColumnsPerBlock<N>;
    const auto blocks = static_cast<unsigned>((body.columns + kColumns - 1) / kColumns);
    columns_kernel<N><<<blocks, kColumns / N * kWideLanes, 0, on(stream)>>>(body);
  }
};

}  // namespace th::cuda
