#include "zero/roles/node_memory.hpp"

#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/memory/resource_usage.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace th::zero {

using runtime::MemoryClass;

namespace {

using Buffer = NodeMemory::Buffer;

Buffer share(const EngineFrame& frame, MemoryClass kind, std::int64_t bytes, std::int64_t counted) {
  const runtime::MemoryScope scope(kind);
  return frame.collectives.allocate_shared(bytes, counted);
}

/// Master weights and the optimizer's states: all of them, or none.
bool share_states(const EngineFrame& frame, NodeMemory& memory) {
  const EngineBuffers& b = frame.buffers;
  bool all = true;
  const auto take = [&](Buffer& state, MemoryClass kind, std::int64_t bytes) {
    if (!all || bytes == 0) return;
    state = share(frame, kind, bytes, bytes);
    all = state != nullptr;
  };
  take(memory.masters, MemoryClass::kMaster, b.masters * kFloat);
  for (std::size_t s = 0; s < b.states; ++s)
    take(memory.states[s], runtime::optimizer_state_class(s), b.bytes_of_state(s));
  return all;
}

}  // namespace

std::optional<std::int64_t> agreed_shared_room(runtime::ControlCalls& control) {
  constexpr std::int64_t kUnknown = INT64_MAX;
  const std::int64_t least = -control.maximum(-runtime::shared_memory_room().value_or(kUnknown));
  return least == kUnknown ? std::nullopt : std::optional(least);
}

StateStore::Given NodeMemory::given() const {
  const auto data = [](const Buffer& state) { return state ? state->as<float>() : nullptr; };
  StateStore::Given out{data(masters), {}};
  std::transform(states.begin(), states.end(), out.states.begin(), data);
  return out;
}

NodeMemory allocate_once_a_node(EngineFrame& frame) {
  NodeMemory memory;
  memory.updates.assign(index(frame.ranks), true);
  if (frame.buffers.memory == runtime::DeviceMemory::kOwn) return memory;
  const EngineBuffers& b = frame.buffers;
  const runtime::NodeMap nodes = frame.collectives.nodes();
  const OnceANode once = once_a_node(frame.config, b, frame.layout, nodes,
                                     agreed_shared_room(frame.collectives.control()));
  const bool by_node = shares_by_node(frame.config, nodes);
  if (by_node) hold_by_node(frame.buffers, nodes.node_size(static_cast<int>(frame.rank)));
  if (once.parameters)
    memory.parameters = share(frame, MemoryClass::kParameters,
                              frame.layout.padded_total() * element_size(b.types.working),
                              b.parameters * element_size(b.types.working));
  ensure(!by_node || memory.parameters,
         "zero.partition=node without memory that a node's ranks share");
  if (!memory.parameters) return memory;
  if (frame.policy.shard_parameters) gather_in_place(frame.buffers);
  if (!once.states) return memory;
  if (!share_states(frame, memory)) {
    memory.masters.reset();
    for (Buffer& state : memory.states) state.reset();
    memory.parameters.reset();
    return memory;
  }
  const auto mine = static_cast<int>(frame.rank);
  for (int r = 0; r < nodes.ranks(); ++r)
    memory.updates[index(r)] =
        nodes.share(mine, r) ? mine == r : nodes.taker(nodes.node_of(mine), r) == mine;
  return memory;
}

GatherBuffer make_gather_buffer(const EngineFrame& frame, std::int64_t elements) {
  const std::int64_t bytes = elements * element_size(frame.buffers.types.working);
  GatherBuffer buffer;
  if (frame.buffers.memory == runtime::DeviceMemory::kHost && elements > 0)
    buffer.shared = share(frame, MemoryClass::kGatherSlots, bytes, bytes);
  if (!buffer.shared) buffer.own = take_block(frame, MemoryClass::kGatherSlots, bytes);
  return buffer;
}

}  // namespace th::zero
