#include "th/zero/engine_buffers.hpp"

#include "th/base/error.hpp"
#include "th/zero/slot_tree.hpp"

#include <algorithm>

namespace th::zero {

using runtime::MemoryClass;

namespace {
constexpr std::int64_t kFloat = 4, kDouble = 8;
}  // namespace

ZeroPolicy zero_policy(std::int64_t stage) {
  ensure(stage >= 0 && stage <= 3, "zero.stage is 0, 1, 2 or 3");
  return {stage >= 1, stage >= 2, stage >= 3};
}

BufferTypes buffer_types(const config::RunConfig& config) {
  const config::PrecisionSection& p = config.precision;
  return {p.dtype, p.reduce_dtype == config::ReduceDtype::kWorking ? p.dtype : config::Precision::kFp32};
}

std::int64_t element_bytes(config::Precision type) { return type == config::Precision::kFp32 ? 4 : 2; }

namespace {

/// What zero.offload_* move to the host, and how updates then travel.
void place_states(EngineBuffers& b, const config::RunConfig& config, const FlatLayout& layout) {
  if (b.memory == DeviceMemory::kHost) return;
  const ZeroPolicy policy = zero_policy(config.zero.stage);
  b.optimizer_on_host = config.zero.offload_optimizer && b.moments + b.masters > 0;
  b.parameters_on_host = config.zero.offload_parameters && policy.shard_parameters;
  // Without sharding the sum of an exact reduction lies shard by shard, that of a fast one unit by unit.
  const bool whole_units = !policy.shard_optimizer && config.comm.reduction == config::Reduction::kFast;
  std::int64_t slice = 0, shard = 0;
  for (const FlatLayout::Unit& unit : layout.units()) {
    shard = std::max(shard, unit.shard);
    slice = std::max(slice, whole_units ? unit.padded : unit.shard);
  }
  if (b.parameters_on_host) b.gather_source = shard;
  UpdateStaging& s = b.staging;
  if (b.optimizer_on_host) s.gradients = element_bytes(b.types.reduced);
  if (b.optimizer_on_host != b.parameters_on_host) (b.masters > 0 ? s.working : s.weights) = element_bytes(b.types.working);
  if (s.gradients + s.weights + s.working > 0) s.piece = std::min(slice, UpdateStaging::kPiece);
}

}  // namespace

EngineBuffers engine_buffers(const config::RunConfig& config, const FlatLayout& layout, const std::vector<bool>& long_lived, std::int64_t slots,
                             DeviceMemory memory) {
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
  b.shard_blocks = shard / FlatLayout::kBlock;
  b.memory = memory;
  place_states(b, config, layout);
  return b;
}

std::int64_t EngineBuffers::device_block_sums() const noexcept { return memory == DeviceMemory::kOwn ? shard_blocks : 0; }

runtime::MemoryUse EngineBuffers::use() const {
  const std::int64_t working = element_bytes(types.working);
  const std::int64_t reduced = element_bytes(types.reduced);
  runtime::MemoryUse use;
  if (!parameters_on_host) use[MemoryClass::kParameters] = parameters * working;
  if (!optimizer_on_host) {
    use[MemoryClass::kMaster] = masters * kFloat;
    use[MemoryClass::kExpAvg] = use[MemoryClass::kExpAvgSq] = moments * kFloat;
  }
  use[MemoryClass::kGradients] = gradients * reduced;
  use[MemoryClass::kGatherSlots] = (gather_slots + gather_source) * working;
  use[MemoryClass::kCommunication] = (unit_gradients + pending_shard * pending_sums) * kFloat + travel * reduced + device_block_sums() * kDouble;
  if (!optimizer_on_host) use[MemoryClass::kOffloadStaging] = staging.bytes();
  return use;
}

runtime::MemoryUse EngineBuffers::host_use() const {
  runtime::MemoryUse use;
  if (parameters_on_host) use[MemoryClass::kParameters] = parameters * element_bytes(types.working);
  if (!optimizer_on_host) return use;
  use[MemoryClass::kMaster] = masters * kFloat;
  use[MemoryClass::kExpAvg] = use[MemoryClass::kExpAvgSq] = moments * kFloat;
  use[MemoryClass::kOffloadStaging] = staging.bytes();
  return use;
}

}  // namespace th::zero
