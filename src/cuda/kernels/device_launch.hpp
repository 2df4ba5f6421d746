#pragma once

#include "cuda/kernels/bodies/element_bodies.hpp"
#include "cuda/kernels/host_lanes.hpp"
#include "cuda/kernels/launch.hpp"
#include "th/base/error.hpp"

// The launch of the model's kernels; for nvcc alone.
namespace th::cuda {

/// Half a warp for one row. All its threads come here together.
class RowLanes {
 public:
  template <typename Number, typename Value>
  __device__ Number sum(std::int64_t n, const Value& value) const {
    Number own = 0;
#pragma unroll 8
    for (std::int64_t i = lane(); i < n; i += kRowLanes) own += value(i);
    for (int w = kRowLanes / 2; w > 0; w /= 2)
      own += __shfl_down_sync(mask(), own, static_cast<unsigned>(w), kRowLanes);
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
  struct Row {
    const T* values;
    __device__ float at(int, std::int64_t d) const { return to_float(values[d]); }
  };
  template <typename T>
  __device__ Row<T> row(const T* values) const {
    return {values};
  }
  template <typename Value>
  __device__ float sum_row(std::int64_t n, const Value& value) const {
    return sum<float>(n, [&](std::int64_t i) { return value(0, i); });
  }
  template <typename T, typename Value>
  __device__ void store_row(T* to, std::int64_t n, const Value& value) const {
    each(n, [&](std::int64_t i) { to[i] = from_float<T>(value(0, i)); });
  }
  __device__ void meet() const { __syncwarp(mask()); }
  __device__ bool first() const { return lane() == 0; }

 private:
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kRowLanes; }
  __device__ static unsigned mask() {
    return 0xffffU << (threadIdx.x % 32 / kRowLanes * kRowLanes);
  }
};

/// A warp for one row of kPacks packs a lane, which stay in its registers.
template <typename T, int kPacks>
class PackedLanes {
 public:
  static constexpr int kPack = kPackOf<T>;
  struct Row {
    float values[kPacks * kPack];
    __device__ float at(int k, std::int64_t) const { return values[k]; }
  };
  __device__ Row row(const T* from) const {
    Row out;
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const Pack<T, kPack> a = load<kPack>(from + column(p));
#pragma unroll
      for (int j = 0; j < kPack; ++j) out.values[p * kPack + j] = to_float(a.at[j]);
    }
    return out;
  }
  template <typename Value>
  __device__ float sum_row(std::int64_t, const Value& value) const {
    float own = 0;
#pragma unroll
    for (int k = 0; k < kPacks * kPack; ++k) own += value(k, column(k / kPack) + k % kPack);
    for (int w = kPackedLanes / 2; w > 0; w /= 2)
      own += __shfl_down_sync(0xffffffffU, own, static_cast<unsigned>(w));
    return __shfl_sync(0xffffffffU, own, 0);
  }
  template <typename Value>
  __device__ void store_row(T* to, std::int64_t, const Value& value) const {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      Pack<T, kPack> a;
#pragma unroll
      for (int j = 0; j < kPack; ++j) a.at[j] = from_float<T>(value(p * kPack + j, column(p) + j));
      store<kPack>(to + column(p), a);
    }
  }
  __device__ bool first() const { return threadIdx.x % kPackedLanes == 0; }

 private:
  __device__ static std::int64_t column(int pack) {
    return (pack * kPackedLanes + static_cast<int>(threadIdx.x) % kPackedLanes) * kPack;
  }
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
    for (std::int64_t i = threadIdx.x; i < n; i += kWideLanes)
      top = value(i) > top ? value(i) : top;
    __syncthreads();
    lanes[threadIdx.x] = top;
    for (unsigned w = kWideLanes / 2; w > 0; w /= 2) {
      __syncthreads();
      if (threadIdx.x < w && lanes[threadIdx.x + w] > lanes[threadIdx.x])
        lanes[threadIdx.x] = lanes[threadIdx.x + w];
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
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
       i += stride)
    body.template run<N>(i * N);
}

template <typename Body>
__global__ void rows_kernel(const Body body, std::int64_t n) {
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x / kRowLanes;
  const std::int64_t first =
      (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kRowLanes;
  for (std::int64_t row = first; row < n; row += stride) body(row, RowLanes());
}

template <int kPacks, typename Body>
__global__ void __launch_bounds__(kThreads) kept_rows_kernel(const Body body, std::int64_t n) {
  const std::int64_t row =
      (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kPackedLanes;
  if (row < n) body(row, PackedLanes<typename Body::Element, kPacks>());
}

template <typename Body>
__global__ void __launch_bounds__(kWideLanes) long_rows_kernel(const Body body) {
  body(static_cast<std::int64_t>(blockIdx.x), BlockLanes());
}

/// A block for a pack of N columns: each of kColumnLanes threads adds every kColumnLanes-th row,
/// then a tree.
template <int N, typename Body>
__global__ void __launch_bounds__(kColumnLanes) columns_kernel(const Body body) {
  constexpr int kRow = Body::kSums * N;
  __shared__ float lanes[kColumnLanes][kRow];
  const int lane = static_cast<int>(threadIdx.x);
  const std::int64_t d = static_cast<std::int64_t>(blockIdx.x) * N;
  float own[Body::kSums][N] = {};
#pragma unroll 8
  for (std::int64_t m = lane; m < body.rows; m += kColumnLanes) body.template add<N>(m, d, own);
  for (int s = 0; s < Body::kSums; ++s) {
    for (int j = 0; j < N; ++j) lanes[lane][s * N + j] = own[s][j];
  }
  for (int w = kColumnLanes / 2; w > 0; w /= 2) {
    __syncthreads();
    for (int i = lane; i < w * kRow; i += kColumnLanes) (&lanes[0][0])[i] += (&lanes[w][0])[i];
  }
  __syncthreads();
  if (lane < kRow) body.write(d + lane % N, lane / N, lanes[0][lane]);
}

constexpr int kIdThreads = 128;

/// A block for each row: the block of an id's first row finds the later ones, 128 rows at a time,
/// and adds all in their order.
template <typename Body>
__global__ void __launch_bounds__(kIdThreads) ids_kernel(const Body body) {
  constexpr int kWarps = kIdThreads / 32, kColumns = 4;  // columns of a thread
  __shared__ unsigned found[kWarps];
  const std::int64_t m = blockIdx.x, id = body.ids[m];
  if (body.skips(id)) return;
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

/// Enqueues a kernel's body for all elements, rows or columns. Throws DeviceError with the kernel's
/// name.
struct DeviceLaunch {
  template <typename Body>
  static void elements(const char* name, std::int64_t n, const Body& body, void* stream) {
    if (n == 0) return;
    if (n % Body::kPack == 0 && body.packs()) {
      elements_kernel<Body::kPack>
          <<<grid_for(n / Body::kPack), kThreads, 0, on(stream)>>>(body, n / Body::kPack);
    } else {
      elements_kernel<1><<<grid_for(n), kThreads, 0, on(stream)>>>(body, n);
    }
    check_launch(name);
  }
  template <typename Body>
  static void rows(const char* name, std::int64_t n, const Body& body, void* stream) {
    if (n == 0) return;
    rows_kernel<<<grid_for(n * kRowLanes), kThreads, 0, on(stream)>>>(body, n);
    check_launch(name);
  }
  /// Rows of body.columns that are read several times.
  template <typename Body>
  static void kept_rows(const char* name, std::int64_t n, const Body& body, void* stream) {
    const int packs = packs_of_lane<typename Body::Element>(body.columns);
    if (packs == 0) return rows(name, n, body, stream);
    ensure(body.packs(), "rows of whole packs begin at 16 bytes");
    if (n == 0) return;
    launch_kept<1>(packs, n, body, stream);
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
    columns_kernel<N>
        <<<static_cast<unsigned>(body.columns / N), kColumnLanes, 0, on(stream)>>>(body);
  }
  /// kept_rows_kernel for `packs`, which is at least kPacks.
  template <int kPacks, typename Body>
  static void launch_kept(int packs, std::int64_t n, const Body& body, void* stream) {
    constexpr std::int64_t kRows = kThreads / kPackedLanes;
    if constexpr (packs_of_lane<typename Body::Element>(std::int64_t{kPacks} * kPackedLanes *
                                                        kPackOf<typename Body::Element>) != 0) {
      if (packs != kPacks) return launch_kept<kPacks + 1>(packs, n, body, stream);
      kept_rows_kernel<kPacks>
          <<<static_cast<unsigned>((n + kRows - 1) / kRows), kThreads, 0, on(stream)>>>(body, n);
    }
  }
};

}  // namespace th::cuda
