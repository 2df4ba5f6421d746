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

namespace {

/// Notes which units are opened that were closed.
class OpensRecorder final : public model::ParameterSource {
 public:
  OpensRecorder(std::size_t units, std::vector<std::int64_t>& opens) : open_(units, 0), tensors_(units), opens_(opens) {}
  const model::UnitTensors& open_forward(std::int64_t unit) override { return opened(unit); }
  void close_forward(std::int64_t unit) override { --open_[static_cast<std::size_t>(unit)]; }
  model::UnitTensors& open_backward(std::int64_t unit) override { return opened(unit); }
  void close_backward(std::int64_t unit) override { --open_[static_cast<std::size_t>(unit)]; }

 private:
  model::UnitTensors& opened(std::int64_t unit) {
    if (open_[static_cast<std::size_t>(unit)]++ == 0) opens_.push_back(unit);
    return tensors_[static_cast<std::size_t>(unit)];
  }
  std::vector<int> open_;
  std::vector<model::UnitTensors> tensors_;
  std::vector<std::int64_t>& opens_;
};

/// Units for which `alone` holds have places of their own behind `shared` places for the others.
UnitPlaces places(const FlatLayout& layout, const std::vector<bool>& alone, std::int64_t shared) {
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

/// The gather slots: as many units ahead as asked for and as zero.max_live_parameters leaves room for.
UnitPlaces gather_places(const config::RunConfig& config, const FlatLayout& layout, const std::vector<bool>& alone) {
  const std::int64_t limit = config.zero.max_live_parameters;
  const std::int64_t ahead = config.comm.overlap == config::Overlap::kOn ? config.zero.prefetch_units : 0;
  const UnitPlaces one = places(layout, alone, 1);
  const std::int64_t in_turn =
      std::max<std::int64_t>(1, std::count(alone.begin(), alone.end(), false));  // more places than units would hold none ahead
  if (limit == 0) return places(layout, alone, std::min(1 + ahead, in_turn));
  if (one.total > limit) {
    throw DeckError("zero.max_live_parameters: " + std::to_string(limit) + " elements, and stage 3 gathers " + std::to_string(one.total) +
                    " at a time here: the largest unit with " + std::to_string(one.shared_elements) + " and those that stay with " +
                    std::to_string(one.total - one.shared_elements) + "; allowed from " + std::to_string(one.total) +
                    ", or 0 for no limit");
  }
  const std::int64_t room = one.shared_elements > 0 ? (limit - one.total) / one.shared_elements : 0;
  return places(layout, alone, std::min(1 + std::min(ahead, room), in_turn));
}

}  // namespace

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

UnitUse unit_use(const model::Transformer& model) {
  UnitUse use{model.long_lived(), {}};
  OpensRecorder recorder(model.units().size(), use.opens);
  model.idle_slot(recorder);
  return use;
}

EngineBuffers engine_buffers(const config::RunConfig& config, const FlatLayout& layout, const UnitUse& use, std::int64_t slots) {
  const ZeroPolicy policy = zero_policy(config.zero.stage);
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
  b.exchanged = places(layout, use.long_lived, policy.shard_gradients && overlap ? 2 : 1);
  if (!policy.shard_gradients) {
    b.exchanged = {0, 1, {}, whole};
    for (const FlatLayout::Unit& unit : layout.units()) b.exchanged.own.push_back(unit.offset);
  }
  b.made = b.types.short_gradients() ? places(layout, use.long_lived, 1) : b.exchanged;
  b.parameters = policy.shard_parameters ? shard : whole;
  b.gradients = policy.shard_gradients ? shard : whole;
  b.unit_gradients = policy.shard_gradients || b.types.short_gradients() ? b.made.total : 0;
  b.travel = policy.shard_gradients && b.types.short_gradients() ? b.exchanged.total : 0;
  if (b.types.masters()) b.masters = policy.shard_optimizer ? shard : whole;
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
