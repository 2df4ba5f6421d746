#include "th/zero/engine_buffers.hpp"

#include "th/base/error.hpp"
#include "th/zero/slot_tree.hpp"

#include <algorithm>

namespace th::zero {

using runtime::MemoryClass;

ZeroPolicy zero_policy(std::int64_t stage) {
  ensure(stage >= 0 && stage <= 3, "zero.stage is 0, 1, 2 or 3");
  return {stage >= 1, stage >= 2, stage >= 3};
}

BufferTypes buffer_types(const config::RunConfig& config) {
  const config::PrecisionSection& p = config.precision;
  return {p.dtype, p.reduce_dtype == config::ReduceDtype::kWorking ? p.dtype : config::Precision::kFp32};
}

std::int64_t element_bytes(config::Precision type) { return type == config::Precision::kFp32 ? 4 : 2; }

EngineBuffers engine_buffers(const config::RunConfig& config, const FlatLayout& layout, const std::vector<bool>& long_lived, std::int64_t slots) {
  const ZeroPolicy policy = zero_policy(config.zero.stage);
  const std::int64_t whole = layout.padded_total();
  const std::int64_t shard = layout.shard_total();
  const std::size_t units = layout.units().size();
  EngineBuffers b;
  b.types = buffer_types(config);
  b.gather_offset.assign(units, 0);
  b.gradient_offset.assign(units, 0);
  std::int64_t in_flight = 0;
  for (std::size_t u = 0; u < units; ++u) {
    if (!long_lived[u]) in_flight = std::max(in_flight, layout.units()[u].padded);
  }
  for (std::size_t u = 0; u < units; ++u) {
    if (!long_lived[u]) continue;
    b.gather_offset[u] = b.gradient_offset[u] = in_flight;
    in_flight += layout.units()[u].padded;
  }
  b.parameters = policy.shard_parameters ? shard : whole;
  b.gather_slots = policy.shard_parameters ? in_flight : 0;
  b.gradients = policy.shard_gradients ? shard : whole;
  b.unit_gradients = policy.shard_gradients || b.types.short_gradients() ? in_flight : 0;
  b.travel = policy.shard_gradients && b.types.short_gradients() ? in_flight : 0;
  if (b.types.masters()) b.masters = policy.shard_optimizer ? shard : whole;
  if (!policy.shard_gradients) {
    for (std::size_t u = 0; u < units; ++u) b.gradient_offset[u] = layout.units()[u].offset;
  }
  if (config.optimizer.name != config::OptimizerKind::kSgd) b.moments = policy.shard_optimizer ? shard : whole;
  if (config.comm.reduction == config::Reduction::kExact) {
    b.pending_shard = shard;
    b.pending_sums = SlotTree::pending_buffers(slots, layout.ranks());
  }
  b.block_sums = (whole + shard) / FlatLayout::kBlock;
  return b;
}

runtime::MemoryUse EngineBuffers::use() const {
  constexpr std::int64_t kFloat = 4;
  const std::int64_t working = element_bytes(types.working);
  const std::int64_t reduced = element_bytes(types.reduced);
  runtime::MemoryUse use;
  use[MemoryClass::kParameters] = parameters * working;
  use[MemoryClass::kMaster] = masters * kFloat;
  use[MemoryClass::kGradients] = gradients * reduced;
  use[MemoryClass::kExpAvg] = use[MemoryClass::kExpAvgSq] = moments * kFloat;
  use[MemoryClass::kGatherSlots] = gather_slots * working;
  use[MemoryClass::kCommunication] = (unit_gradients + pending_shard * pending_sums) * kFloat + travel * reduced;
  return use;
}

}  // namespace th::zero
