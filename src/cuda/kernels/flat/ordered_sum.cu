#include "cuda/kernels/kernels.hpp"

#include "cuda/kernels/flat/elementwise.hpp"
#include "cuda/kernels/launch.hpp"

#include <algorithm>

namespace th::cuda {

namespace {

/// Kernel arguments by value: no copy to the device, nothing to keep alive. The limit for arguments
/// is 32764 bytes from compute capability 7.0 on.
template <typename T, int kPieces>
struct TreeArguments {
  const T* pieces[kPieces];
  const float* before[runtime::kTreeLevels];
  float* after[runtime::kTreeLevels];
  T* out;
  std::int64_t count;
  std::uint32_t first;
  int piece_count;
};

/// Each thread owns an element: it reads all that is pending before it writes, so a buffer may
/// change its level, and `out` may be a piece.
template <typename T, int kPieces, int kLevels>
__global__ void tree_sum_kernel(const __grid_constant__ TreeArguments<T, kPieces> a) {
  const std::uint32_t end = a.first + static_cast<std::uint32_t>(a.piece_count);
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
       i < a.count; i += stride) {
    float level[kLevels];
#pragma unroll
    for (int l = 0; l < kLevels; ++l)
      level[l] = ((a.first >> l) & 1U) != 0U ? a.before[l][i] : 0.0F;
    for (int j = 0; j < a.piece_count; ++j)
      push_slot(level, a.first + static_cast<std::uint32_t>(j), to_float(a.pieces[j][i]));
    if (a.out != nullptr) {
      a.out[i] = from_float<T>(tree_total(level, end));
      continue;
    }
#pragma unroll
    for (int l = 0; l < kLevels; ++l) {
      if (((end >> l) & 1U) != 0U) a.after[l][i] = level[l];
    }
  }
}

template <typename T, int kPieces, int kLevels>
void launch_tree_sum(const runtime::TreeSum& sum, cudaStream_t stream) {
  TreeArguments<T, kPieces> arguments{};
  std::transform(sum.leaves.begin(), sum.leaves.end(), arguments.pieces,
                 [](const runtime::TreeLeaf& leaf) { return static_cast<const T*>(leaf.data); });
  std::copy_n(sum.pending_before, runtime::kTreeLevels, arguments.before);
  std::copy_n(sum.pending_after, runtime::kTreeLevels, arguments.after);
  arguments.out = static_cast<T*>(sum.out);
  arguments.count = sum.count;
  arguments.first = static_cast<std::uint32_t>(sum.first_slot);
  arguments.piece_count = static_cast<int>(sum.leaves.size());
  tree_sum_kernel<T, kPieces, kLevels><<<grid_for(sum.count), kThreads, 0, stream>>>(arguments);
  check_launch("tree_sum_kernel");
}

/// Few levels fit into registers; the wide form serves any run.
template <typename T>
void tree_sum_of(const runtime::TreeSum& sum, std::uint32_t end, cudaStream_t stream) {
  if (sum.leaves.size() <= 32 && end < 256) return launch_tree_sum<T, 32, 8>(sum, stream);
  launch_tree_sum<T, runtime::kMaxTreePieces, runtime::kTreeLevels>(sum, stream);
}

/// Eight neighbouring threads share a block of 256 elements; the shuffles add their partial sums in
/// the CPU's order.
template <typename T>
__global__ void block_square_sums_kernel(const T* __restrict__ x, std::int64_t blocks,
                                         double* __restrict__ out) {
  const int lane = static_cast<int>(threadIdx.x) % kNormLanes;
  const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x / kNormLanes;
  const std::int64_t mine =
      (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kNormLanes;
  // All threads of a warp take the same number of turns, because every one of them takes part in
  // the shuffles.
  const std::int64_t warp_first = mine - static_cast<std::int64_t>(threadIdx.x % 32) / kNormLanes;
  for (std::int64_t turn = 0; warp_first + turn < blocks; turn += stride) {
    const std::int64_t block = mine + turn;
    double sum = block < blocks ? square_lane(x + block * kNormBlock, lane) : 0.0;
    sum += __shfl_down_sync(0xffffffffU, sum, 4, kNormLanes);
    sum += __shfl_down_sync(0xffffffffU, sum, 2, kNormLanes);
    sum += __shfl_down_sync(0xffffffffU, sum, 1, kNormLanes);
    if (lane == 0 && block < blocks) out[block] = sum;
  }
}

}  // namespace

void tree_sum(const runtime::TreeSum& sum, void* stream) {
  const auto pieces = static_cast<std::int64_t>(sum.leaves.size());
  ensure(pieces <= runtime::kMaxTreePieces, "tree_sum: more pieces than 1024");
  ensure(std::all_of(sum.leaves.begin(), sum.leaves.end(),
                     [](const runtime::TreeLeaf& leaf) { return leaf.slots == 1; }),
         "tree_sum: a leaf of several slots");
  ensure(sum.first_slot >= 0 && sum.first_slot + pieces < (std::int64_t{1} << runtime::kTreeLevels),
         "tree_sum: a slot number above 2^31");
  const auto end = static_cast<std::uint32_t>(sum.first_slot + pieces);
  for (int l = 0; l < runtime::kTreeLevels; ++l) {
    ensure(((sum.first_slot >> l) & 1) == 0 || sum.pending_before[l] != nullptr,
           "tree_sum: a pending level has no buffer to read");
    ensure(sum.out != nullptr || ((end >> l) & 1U) == 0U || sum.pending_after[l] != nullptr,
           "tree_sum: a pending level has no buffer to write");
  }
  if (sum.count == 0) return;
  if (end == 1 && sum.out == sum.leaves[0].data) return;  // the only slot's gradient is the sum
  const auto on = static_cast<cudaStream_t>(stream);
  if (sum.type == ElementType::kBf16) return tree_sum_of<Bf16>(sum, end, on);
  if (sum.type == ElementType::kFp16) return tree_sum_of<Fp16>(sum, end, on);
  tree_sum_of<float>(sum, end, on);
}

void block_square_sums(const void* x, ElementType type, std::int64_t blocks, double* out,
                       void* stream) {
  if (blocks == 0) return;
  const auto launch = [&](const auto* elements) {
    block_square_sums_kernel<<<grid_for(blocks * kNormLanes), kThreads, 0,
                               static_cast<cudaStream_t>(stream)>>>(elements, blocks, out);
    check_launch("block_square_sums_kernel");
  };
  if (type == ElementType::kBf16) return launch(static_cast<const Bf16*>(x));
  if (type == ElementType::kFp16) return launch(static_cast<const Fp16*>(x));
  launch(static_cast<const float*>(x));
}

}  // namespace th::cuda
