#include "th/zero/engine_buffers.hpp"

#include "th/runtime/device/step_outcome.hpp"
#include "th/runtime/memory/planned_vector.hpp"
#include "th/runtime/memory/resource_usage.hpp"

#include "th/base/error.hpp"
#include "th/config/state_names.hpp"
#include "th/zero/slot_tree.hpp"
#include "th/zero/whole_matrices.hpp"
#include "zero/sizes.hpp"

#include <algorithm>

namespace th::zero {

using runtime::MemoryClass;

ZeroPolicy zero_policy(std::int64_t stage) {
  ensure(stage >= 0 && stage <= 3, "zero.stage is 0, 1, 2 or 3");
  return {stage >= 1, stage >= 2, stage >= 3};
}

ZeroPolicy zero_policy(const config::RunConfig& config) {
  ZeroPolicy policy = zero_policy(config.zero.stage);
  policy.shard_optimizer = policy.shard_optimizer || updates_whole_tensors(config);
  policy.shard_parameters = policy.shard_parameters && !shares_by_node(config);
  return policy;
}

BufferTypes buffer_types(const config::RunConfig& config) {
  const config::PrecisionSection& p = config.precision;
  return {p.dtype, p.reduce_dtype == config::ReduceDtype::kWorking ? p.dtype : ElementType::kFp32};
}

SlotDealing slot_dealing(const config::RunConfig& config, std::int64_t slots, std::int64_t ranks) {
  const bool adds =
      config.comm.reduction == config::Reduction::kExact && !buffer_types(config).short_gradients();
  return {slots, ranks, ranks > 1 && adds && config.comm.dealing == config::Dealing::kBlocks};
}

UnitPlaces unit_places(const FlatLayout& layout, const std::vector<bool>& alone,
                       std::int64_t shared) {
  UnitPlaces p;
  p.shared = shared;
  for (std::size_t u = 0; u < alone.size(); ++u) {
    if (!alone[u]) p.shared_elements = std::max(p.shared_elements, layout.units()[u].padded);
  }
  p.total = shared * p.shared_elements;
  for (std::size_t u = 0; u < alone.size(); ++u) {
    p.own.push_back(alone[u] ? p.total : -1);
    if (alone[u]) p.total += layout.units()[u].padded;
  }
  return p;
}

namespace {

/// The gather slots: as many units ahead as asked for and as zero.max_live_parameters leaves room
/// for.
UnitPlaces gather_places(const config::RunConfig& config, const FlatLayout& layout,
                         const std::vector<bool>& alone) {
  const std::int64_t limit = config.zero.max_live_parameters;
  const std::int64_t ahead =
      config.comm.overlap == config::Overlap::kOn ? config.zero.prefetch_units : 0;
  const UnitPlaces one = unit_places(layout, alone, 1);
  const std::int64_t in_turn =
      std::max<std::int64_t>(1, std::count(alone.begin(), alone.end(),
                                           false));  // more places than units would hold none ahead
  if (limit == 0) return unit_places(layout, alone, std::min(1 + ahead, in_turn));
  if (one.total > limit) {
    throw DeckError("zero.max_live_parameters: " + std::to_string(limit) +
                    " elements, and stage 3 gathers " + std::to_string(one.total) +
                    " at a time here: the largest unit with " +
                    std::to_string(one.shared_elements) + " and those that stay with " +
                    std::to_string(one.total - one.shared_elements) + "; allowed from " +
                    std::to_string(one.total) + ", or 0 for no limit");
  }
  const std::int64_t room = one.shared_elements > 0 ? (limit - one.total) / one.shared_elements : 0;
  return unit_places(layout, alone, std::min(1 + std::min(ahead, room), in_turn));
}

/// What zero.offload_* move to the host, and how updates then travel.
void place_states(EngineBuffers& b, const config::RunConfig& config, const FlatLayout& layout) {
  if (b.memory == runtime::DeviceMemory::kHost) return;
  const ZeroPolicy policy = zero_policy(config);
  b.optimizer_on_host = config.zero.offload_optimizer && b.bytes_of_states() + b.masters > 0;
  b.parameters_on_host = config.zero.offload_parameters && policy.shard_parameters;
  // Without sharding the sum of an exact reduction lies shard by shard, that of a fast one unit by
  // unit.
  const bool whole_units =
      !policy.shard_optimizer && config.comm.reduction == config::Reduction::kFast;
  std::int64_t slice = 0, shard = 0;
  for (const FlatLayout::Unit& unit : layout.units()) {
    shard = std::max(shard, unit.shard);
    slice = std::max(slice, whole_units ? unit.padded : unit.shard);
  }
  if (b.parameters_on_host) {
    b.gather_source = shard;
    b.gather_sources = b.gathered.shared;
  }
  UpdateStaging& s = b.staging;
  if (b.optimizer_on_host && policy.shard_optimizer) {
    b.host_gradients = layout.shard_total();
  } else if (b.optimizer_on_host && whole_units) {
    b.host_gradients = layout.padded_total();
  } else if (b.optimizer_on_host) {
    s.gradients = element_size(b.types.reduced);
  }
  if (b.optimizer_on_host != b.parameters_on_host)
    (b.masters > 0 ? s.working : s.weights) = element_size(b.types.working);
  if (s.gradients + s.weights + s.working > 0) s.piece = std::min(slice, UpdateStaging::kPiece);
}

/// Where the deck asks for audits.
AuditBuffers audit_buffers(const config::RunConfig& config, const FlatLayout& layout,
                           runtime::DeviceMemory memory) {
  AuditBuffers b;
  if (config.run.audit_steps == 0) return b;
  b.hashes = std::ssize(layout.units()) + layout.ranks();
  if (memory == runtime::DeviceMemory::kHost) return b;
  b.piece = AuditBuffers::kPiece;
  b.arrivals = layout.shard_total() * element_size(buffer_types(config).reduced);
  return b;
}

}  // namespace

std::int64_t AuditBuffers::bytes() const noexcept {
  return runtime::counted(hashes * static_cast<std::int64_t>(sizeof(std::uint64_t))) + piece +
         arrivals;
}

std::vector<bool> kept_units(const config::RunConfig& config, const FlatLayout& layout) {
  std::vector<bool> kept;
  for (const FlatLayout::Unit& unit : layout.units()) {
    std::int64_t elements = 0;
    for (std::int64_t t = unit.first_tensor; t < unit.first_tensor + unit.tensor_count; ++t)
      elements += layout.tensors()[static_cast<std::size_t>(t)].count;
    kept.push_back(config.zero.stage == 3 && elements <= config.zero.persistence_threshold);
  }
  return kept;
}

EngineBuffers engine_buffers(const config::RunConfig& config, const FlatLayout& layout,
                             const UnitUse& use, std::int64_t slots, runtime::DeviceMemory memory) {
  const ZeroPolicy policy = zero_policy(config);
  const std::int64_t whole = layout.padded_total();
  const std::int64_t shard = layout.shard_total();
  const bool overlap = config.comm.overlap == config::Overlap::kOn;
  EngineBuffers b;
  b.types = buffer_types(config);
  b.kept = kept_units(config, layout);
  if (policy.shard_parameters) {
    std::vector<bool> alone = use.long_lived;
    for (std::size_t u = 0; u < alone.size(); ++u) alone[u] = alone[u] || b.kept[u];
    b.gathered = gather_places(config, layout, alone);
    b.gather_slots = b.gathered.total;
  }
  b.exchanged = unit_places(layout, use.long_lived, policy.shard_gradients && overlap ? 2 : 1);
  if (!policy.shard_gradients) {
    b.exchanged = {0, 1, {}, whole};
    for (const FlatLayout::Unit& unit : layout.units()) b.exchanged.own.push_back(unit.offset);
  }
  b.made = b.types.short_gradients() ? unit_places(layout, use.long_lived, 1) : b.exchanged;
  b.parameters = policy.shard_parameters ? shard : whole;
  b.gradients = policy.shard_gradients ? shard : whole;
  b.unit_gradients = policy.shard_gradients || b.types.short_gradients() ? b.made.total : 0;
  b.travel = policy.shard_gradients && b.types.short_gradients() ? b.exchanged.total : 0;
  if (b.types.masters()) b.masters = policy.shard_optimizer ? shard : whole;
  b.states = config::state_names(config).size();
  b.short_states = config.optimizer.state_dtype == ElementType::kBf16;
  b.averages = config.train.ema_decay > 0;
  b.state_layouts = state_layouts(config, layout);
  const SlotDealing dealing = slot_dealing(config, slots, layout.ranks());
  if (config.comm.reduction == config::Reduction::kExact) {
    b.pending_shard = shard;
    b.pending_sums = SlotTree::pending_buffers(dealing.ends());
    b.pending_whole = whole;
    b.own_sums = SlotTree::pending_buffers(SlotTree::one_by_one(dealing.largest_block()));
  }
  b.shard_blocks = shard / FlatLayout::kBlock;
  b.rounds = dealing.passes();
  b.record = b.shard_blocks + b.rounds;
  b.records =
      memory == runtime::DeviceMemory::kOwn && layout.ranks() == 1 ? 0 : b.record * layout.ranks();
  b.memory = memory;
  b.overlap = overlap;
  b.audit = audit_buffers(config, layout, memory);
  place_states(b, config, layout);
  return b;
}

OnceANode once_a_node(const config::RunConfig& config, const EngineBuffers& buffers,
                      const FlatLayout& layout, const runtime::NodeMap& nodes,
                      std::optional<std::int64_t> shared_room) {
  const ZeroPolicy policy = zero_policy(config);
  std::int64_t most = 0;  // ranks of a node
  for (int r = 0; r < nodes.ranks(); ++r) most = std::max<std::int64_t>(most, nodes.node_size(r));
  // A fast sum is whole on every rank, which updates all of it.
  const bool by_shards =
      policy.shard_optimizer || config.comm.reduction == config::Reduction::kExact;
  OnceANode once;
  once.parameters = policy.shard_parameters ? nodes.nodes() == 1 : by_shards && most > 1;
  once.states = once.parameters && !policy.shard_optimizer;
  if (most == 1) return once;  // windows of one rank alone are ordinary memory
  const std::int64_t parameters =
      once.parameters ? layout.padded_total() * element_size(buffers.types.working) : 0;
  const std::int64_t states =
      once.states ? buffers.masters * kFloat + buffers.bytes_of_states() : 0;
  const std::int64_t gradients =
      most * buffers.exchanged.total * element_size(buffers.types.reduced);
  constexpr int kWindows = 8;  // more than there are
  return runtime::windows_fit(parameters + states + gradients, kWindows, shared_room) ? once
                                                                                      : OnceANode{};
}

bool shares_by_node(const config::RunConfig& config) noexcept {
  return config.zero.stage == 3 && config.zero.partition == config::Partition::kNode;
}

bool shares_by_node(const config::RunConfig& config, const runtime::NodeMap& nodes) noexcept {
  return shares_by_node(config) && nodes.nodes() < nodes.ranks();
}

void hold_by_node(EngineBuffers& buffers, std::int64_t node_ranks) {
  buffers.parameters = (buffers.parameters + node_ranks - 1) / node_ranks;
}

void gather_in_place(EngineBuffers& buffers) {
  buffers.gather_slots = 0;
  buffers.gathers_in_place = true;
}

runtime::MemoryUse EngineBuffers::use() const {
  const std::int64_t working = element_size(types.working);
  const std::int64_t reduced = element_size(types.reduced);
  runtime::MemoryUse use;
  if (!parameters_on_host) use[MemoryClass::kParameters] = parameters * working;
  if (!optimizer_on_host) {
    use[MemoryClass::kMaster] = masters * kFloat;
    for (std::size_t s = 0; s < states; ++s)
      use[runtime::optimizer_state_class(s)] = bytes_of_state(s);
  }
  use[MemoryClass::kGradients] = gradients * reduced;
  use[MemoryClass::kGatherSlots] = (gather_slots + gather_source * gather_sources) * working;
  use[MemoryClass::kCommunication] =
      (unit_gradients + pending_shard * pending_sums + pending_whole * own_sums) * kFloat +
      travel * reduced;
  use[MemoryClass::kCommunication] += record * kDouble;
  if (memory == runtime::DeviceMemory::kHost) use[MemoryClass::kCommunication] += audit.bytes();
  if (memory == runtime::DeviceMemory::kOwn)
    use[MemoryClass::kCommunication] +=
        records * kDouble + std::int64_t{sizeof(runtime::StepOutcome)};
  if (!optimizer_on_host) use[MemoryClass::kOffloadStaging] = staging.bytes();
  return use;
}

runtime::MemoryUse EngineBuffers::host_use() const {
  runtime::MemoryUse use;
  if (memory == runtime::DeviceMemory::kOwn)
    use[MemoryClass::kCommunication] =
        kOutcomes * std::int64_t{sizeof(runtime::StepOutcome)} + audit.bytes();
  if (parameters_on_host) use[MemoryClass::kParameters] = parameters * element_size(types.working);
  if (!optimizer_on_host) return use;
  use[MemoryClass::kGradients] = host_gradients * element_size(types.reduced);
  use[MemoryClass::kMaster] = masters * kFloat;
  for (std::size_t s = 0; s < states; ++s)
    use[runtime::optimizer_state_class(s)] = bytes_of_state(s);
  use[MemoryClass::kOffloadStaging] = staging.bytes();
  return use;
}

}  // namespace th::zero
