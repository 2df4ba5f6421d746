#include "th/base/error.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/zero/engine.hpp"
#include "th/zero/whole_matrices.hpp"
#include "th/zero/whole_update.hpp"
#include "zero/sizes.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

// The engine's memory: buffers by EngineBuffers, and of them what the ranks of a node have once.
namespace th::zero {

std::optional<std::int64_t> agreed_shared_room(runtime::Collectives& collectives) {
  constexpr std::int64_t kUnknown = INT64_MAX;
  const std::int64_t least =
      -collectives.maximum(-runtime::shared_memory_room().value_or(kUnknown));
  return least == kUnknown ? std::nullopt : std::optional(least);
}

void ZeroEngine::allocate() {
  using runtime::MemoryClass;
  using runtime::MemoryScope;
  const std::size_t units = layout_.units().size();
  open_.assign(units, 0);
  updates_.assign(index(ranks_), true);
  tensors_.resize(units);
  const EngineBuffers& b = buffers_;
  const BufferTypes& types = b.types;
  const auto block = [&](MemoryClass kind, std::int64_t bytes) {
    const MemoryScope scope(kind);
    return runtime::DeviceBlock(device_, runtime::Place::kDevice, bytes);
  };
  const auto buffer = [&](MemoryClass kind, std::int64_t elements, config::Precision type) {
    const MemoryScope scope(kind);
    return collectives_.allocate(words(elements, type));
  };
  if (device_.is_host()) allocate_once_a_node();
  if (!parameters_ && !b.parameters_on_host)
    parameters_ = buffer(MemoryClass::kParameters, b.parameters, types.working);
  for (std::int64_t i = 0; i < b.gather_sources; ++i)
    gather_sources_.push_back(
        {buffer(MemoryClass::kGatherSlots, b.gather_source, types.working), {}});
  slots_of_gathers_ = make_slots(b.gather_slots);
  // The buffer that travels is the whole gradient, or the unreduced one of the units in flight.
  gradients_ =
      buffer(policy_.shard_gradients ? MemoryClass::kCommunication : MemoryClass::kGradients,
             b.exchanged.total, types.reduced);
  if (types.short_gradients())
    unit_gradients_ = block(MemoryClass::kCommunication,
                            b.unit_gradients * element_bytes(config::Precision::kFp32));
  if (policy_.shard_gradients)
    shard_gradients_ = block(MemoryClass::kGradients, b.gradients * element_bytes(types.reduced));
  const auto data = [](const Buffer& state) { return state ? state->data() : nullptr; };
  StateStore::Given given{data(node_masters_), {}};
  std::transform(node_states_.begin(), node_states_.end(), given.states.begin(), data);
  store_ = std::make_unique<StateStore>(device_, layout_, b, policy_, given);
  if (updates_whole_tensors(config_)) {
    ensure(device_.is_host(), "ZeroEngine: whole tensors are updated on the host alone");
    whole_update_ = WholeUpdate::make(config_, layout_, rank_, *store_);
  }
  pending_ = block(MemoryClass::kCommunication,
                   b.pending_sums * b.pending_shard * element_bytes(config::Precision::kFp32));
  if (device_.is_host()) {
    host_record_ = block(MemoryClass::kCommunication, b.record * kDouble);
  } else {
    const MemoryScope scope(MemoryClass::kCommunication);
    record_ = collectives_.allocate(b.record * kWordsOfDouble);
    records_ = runtime::DeviceBlock(device_, runtime::Place::kDevice, b.records * kDouble);
    outcome_ = runtime::DeviceBlock(device_, runtime::Place::kDevice, sizeof(runtime::StepOutcome));
    read_outcomes_ =
        runtime::DeviceBlock(device_, runtime::Place::kHost,
                             EngineBuffers::kOutcomes * std::int64_t{sizeof(runtime::StepOutcome)});
  }
  tree_ = std::make_unique<SlotTree>(slots_, ranks_, b.pending_shard, pending_.as<float>());
  if (config_.run.audit_steps > 0) audit_ = std::make_unique<SlotAudit>(device_, layout_, b);
  const MemoryScope scope(MemoryClass::kCommunication);
  compute_.drain();  // zeros come by both
  communication_.drain();
}

ZeroEngine::Slots ZeroEngine::make_slots(std::int64_t elements) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kGatherSlots);
  const config::Precision type = buffers_.types.working;
  Slots slots;
  if (device_.is_host() && elements > 0)
    slots.shared = collectives_.allocate_shared(words(elements, type), words(elements, type));
  if (!slots.shared)
    slots.own =
        runtime::DeviceBlock(device_, runtime::Place::kDevice, elements * element_bytes(type));
  return slots;
}

void ZeroEngine::allocate_once_a_node() {
  using runtime::MemoryClass;
  const EngineBuffers& b = buffers_;
  const auto shared = [&](MemoryClass kind, std::int64_t elements, std::int64_t counted) {
    const runtime::MemoryScope scope(kind);
    return collectives_.allocate_shared(elements, counted);
  };
  const runtime::NodeMap nodes = collectives_.nodes();
  const OnceANode once = once_a_node(config_, b, layout_, nodes, agreed_shared_room(collectives_));
  if (!once.parameters) return;
  parameters_ = shared(MemoryClass::kParameters, words(layout_.padded_total(), b.types.working),
                       words(b.parameters, b.types.working));
  if (!parameters_) return;
  if (policy_.shard_parameters) gather_in_place(buffers_);
  if (!once.states) return;
  bool all = true;
  const auto share = [&](Buffer& state, MemoryClass kind, std::int64_t elements) {
    if (!all || elements == 0) return;
    state = shared(kind, elements, elements);
    all = state != nullptr;
  };
  share(node_masters_, MemoryClass::kMaster, b.masters);
  for (std::size_t s = 0; s < b.states; ++s)
    share(node_states_[s], runtime::optimizer_state_class(s), b.bytes_of_state(s) / 4);
  if (!all) {  // all of them, or none
    node_masters_.reset();
    for (Buffer& state : node_states_) state.reset();
    parameters_.reset();
    return;
  }
  const auto mine = static_cast<int>(rank_);
  for (int r = 0; r < nodes.ranks(); ++r)
    updates_[index(r)] =
        nodes.share(mine, r) ? mine == r : nodes.taker(nodes.node_of(mine), r) == mine;
}

}  // namespace th::zero
