#include "cuda/kernels/kernels.hpp"

#include "cuda/kernels/flat/elementwise.hpp"
#include "cuda/kernels/launch.hpp"

#include <algorithm>

namespace th::cuda {

namespace {

/// By value, as the sum over slots takes its pieces.
struct EndArguments {
  runtime::StepRecords step;
  std::int64_t unit_count;
  runtime::StepRecords::Unit units[runtime::kMaxUnits];
};
static_assert(sizeof(EndArguments) <= 32764, "a kernel's arguments from compute capability 7.0 on");

constexpr std::int64_t kNone = std::int64_t{1} << 62;

/// The smallest value of a block of kNormStrands threads.
__device__ std::int64_t block_minimum(std::int64_t value) {
  __shared__ std::int64_t values[kNormStrands];
  __syncthreads();  // an earlier minimum may still be read
  values[threadIdx.x] = value;
  for (unsigned w = kNormStrands / 2; w > 0; w /= 2) {
    __syncthreads();
    if (threadIdx.x < w && values[threadIdx.x + w] < values[threadIdx.x])
      values[threadIdx.x] = values[threadIdx.x + w];
  }
  __syncthreads();
  return values[0];
}

template <typename T>
__device__ std::int64_t first_not_finite(const void* gradients, std::int64_t block) {
  const bool bad =
      threadIdx.x < kNormBlock &&
      !isfinite(to_float(static_cast<const T*>(gradients)[block * kNormBlock + threadIdx.x]));
  return block_minimum(bad ? threadIdx.x : kNone);
}

/// One block: strand t adds blocks t, t + kNormStrands, … of each unit, then the strands are joined
/// (norm_strand, join_strands).
__global__ void __launch_bounds__(kNormStrands)
    end_step_kernel(const __grid_constant__ EndArguments a) {
  __shared__ double strands[kNormStrands];
  const runtime::StepRecords& s = a.step;
  const int t = static_cast<int>(threadIdx.x);
  std::int64_t bad = kNone, before = 0;
  double sum = 0;
  for (std::int64_t u = 0; u < a.unit_count; ++u) {
    const std::int64_t first_bad = norm_strand(s, a.units[u], t, sum);
    if (first_bad >= 0 && bad == kNone) bad = before + first_bad;
    before += a.units[u].blocks * s.ranks;
  }
  strands[t] = sum;
  for (int w = kNormStrands / 2; w > 0; w /= 2) {
    __syncthreads();
    if (t < w) strands[t] += strands[t + w];
  }
  __syncthreads();
  bad = block_minimum(bad);
  runtime::StepOutcome out;
  if (bad != kNone) {
    for (std::int64_t u = 0; u < a.unit_count; ++u) {
      const runtime::StepRecords::Unit& unit = a.units[u];
      if (bad >= unit.blocks * s.ranks) {
        bad -= unit.blocks * s.ranks;
        continue;
      }
      out.bad_unit = u;
      if (bad / unit.blocks != s.rank) break;
      std::int64_t element = 0;
      if (s.type == ElementType::kFp32)
        element = first_not_finite<float>(unit.gradient, bad % unit.blocks);
      if (s.type == ElementType::kBf16)
        element = first_not_finite<Bf16>(unit.gradient, bad % unit.blocks);
      if (s.type == ElementType::kFp16)
        element = first_not_finite<Fp16>(unit.gradient, bad % unit.blocks);
      if (element != kNone) out.bad_element = bad * kNormBlock + element;
      break;
    }
  }
  if (t != 0) return;
  out.loss_sum = loss_total(s);
  conclude(out, strands[0], s.clip, s.loss_scale);
  *s.outcome = out;
}

}  // namespace

void end_step(const runtime::StepRecords& records, void* stream) {
  ensure(std::ssize(records.units) <= runtime::kMaxUnits, "end_step: more than 1024 units");
  EndArguments arguments{records, std::ssize(records.units), {}};
  std::copy(records.units.begin(), records.units.end(), arguments.units);
  end_step_kernel<<<1, kNormStrands, 0, static_cast<cudaStream_t>(stream)>>>(arguments);
  check_launch("end_step_kernel");
}

}  // namespace th::cuda
