#include "th/zero/engine/engine_states.hpp"

#include "th/base/error.hpp"
#include "th/config/state_names.hpp"
#include "th/model/parameters/initialization.hpp"
#include "zero/roles/gradient_reducer.hpp"
#include "zero/roles/node_memory.hpp"
#include "zero/roles/parameter_residency.hpp"
#include "zero/roles/state_slices.hpp"

#include <algorithm>
#include <array>

namespace th::zero {

std::vector<NamedState> EngineStates::named() const {
  std::vector<NamedState> out{{"parameters", State::kParameters}};
  for (const char* name : config::state_names(roles_.frame.config))
    out.push_back({name, optimizer_state(out.size() - 1)});
  return out;
}

StateStore::Slice EngineStates::shard(std::int64_t unit) const {
  return StateSlices{roles_.frame, roles_.parameters, roles_.gradients}.shard(unit);
}

float* EngineStates::whole(State state, std::int64_t unit) const {
  ensure(!roles_.frame.policy.shard_optimizer, "ZeroEngine: sharded states are nowhere whole");
  return roles_.store.at(state,
                         StateSlices{roles_.frame, roles_.parameters, roles_.gradients}.kept(unit));
}

bool EngineStates::is_plain(State state) const {
  const EngineBuffers& b = roles_.frame.buffers;
  const std::size_t number = static_cast<std::size_t>(state) - 1;
  return state == State::kParameters ||
         (b.state_element(number) == 4 && b.state_layouts[number].dense());
}

void EngineStates::initialise() {
  const EngineFrame& frame = roles_.frame;
  for (const FlatLayout::Piece& piece : frame.layout.pieces(frame.rank)) {
    const FlatLayout::Tensor& tensor = frame.layout.tensors()[index(piece.tensor)];
    float* weights = roles_.store.at(State::kParameters, shard(tensor.unit)) + piece.shard_offset -
                     frame.unit(tensor.unit).shard_offset;
    constexpr std::int64_t kChunk = 2048;
    std::array<float, kChunk> values;
    for (std::int64_t at = 0; at < piece.count; at += kChunk) {
      const std::int64_t n = std::min(kChunk, piece.count - at);
      model::initialize_elements(tensor.spec, frame.config.run.seed, frame.config.model.d_model,
                                 piece.tensor_begin + at, n, values.data());
      runtime::copy_now(frame.device, weights + at, values.data(), n * kFloat);
    }
  }
  for (std::int64_t u = 0; u < frame.units(); ++u) share_unit(u);
  roles_.parameters.replaced();
  frame.collectives.barrier();
  start_average();
}

void EngineStates::swap_average() {
  const EngineFrame& frame = roles_.frame;
  const State state = optimizer_state(frame.buffers.states - 1);
  frame.settle();
  frame.collectives.barrier();  // nobody reads what a node has once
  for (std::int64_t u = 0; u < frame.units(); ++u) {
    const StateStore::Slice mine = shard(u);
    roles_.store.swap_average(mine);
    share_unit(u);
    if (!frame.policy.shard_optimizer) share_fp32(u, roles_.store.at(state, mine), whole(state, u));
  }
  roles_.parameters.replaced();
  frame.collectives.barrier();
}

void EngineStates::start_average() {
  const EngineFrame& frame = roles_.frame;
  if (!frame.buffers.averages) return;
  const State state = optimizer_state(frame.buffers.states - 1);
  frame.settle();
  frame.collectives.barrier();
  for (std::int64_t u = 0; u < frame.units(); ++u) {
    const StateStore::Slice mine = shard(u);
    roles_.store.average(mine, 1.0);
    if (!frame.policy.shard_optimizer) share_fp32(u, roles_.store.at(state, mine), whole(state, u));
  }
  frame.collectives.barrier();
}

void EngineStates::share_unit(std::int64_t unit) {
  const EngineFrame& frame = roles_.frame;
  if (frame.buffers.types.masters()) {
    const StateStore::Slice mine = shard(unit);
    roles_.store.publish(mine);
    if (!frame.policy.shard_optimizer)
      share_fp32(unit, roles_.store.at(State::kParameters, mine), whole(State::kParameters, unit));
  }
  roles_.parameters.publish_now(unit);
}

template <typename Put>
void EngineStates::share_shards(std::int64_t number, const float* mine, runtime::Access whole,
                                Put put) {
  const EngineFrame& frame = roles_.frame;
  const FlatLayout::Unit& u = frame.unit(number);
  const std::int64_t width = element_size(frame.buffers.types.reduced);
  const runtime::RankParts parts{u.offset * width, u.shard * width};
  const std::int64_t part = parts.size / kFloat;  // 16-bit gradients: room for half a unit
  runtime::TransportBuffer& gradients = roles_.gradients.buffer();
  auto* buffer = reinterpret_cast<float*>(gradients.data() + parts.offset);
  frame.communication.wait(frame.compute.record());
  frame.communication.enqueue(
      "share",
      [=, &frame, &node = roles_.node, &gradients, shard = u.shard] {
        for (std::int64_t at = 0; at < shard; at += part) {
          frame.communication.copy(buffer + frame.rank * part, mine + at, part * kFloat);
          frame.collectives.all_gather(gradients, parts, gradients.data() + parts.offset);
          for (std::int64_t r = 0; r < frame.ranks; ++r) {
            if (node.updates[index(r)]) put(r * shard + at, buffer + r * part, part);
          }
        }
      },
      {runtime::reads(mine, u.shard * kFloat), runtime::writes(buffer, part * frame.ranks * kFloat),
       whole});
  frame.communication.drain();
}

void EngineStates::share_fp32(std::int64_t unit, const float* mine, float* whole) {
  const EngineFrame& frame = roles_.frame;
  share_shards(unit, mine, runtime::writes(whole, frame.unit(unit).padded * kFloat),
               [&frame, whole](std::int64_t at, const float* from, std::int64_t count) {
                 frame.communication.copy(whole + at, from, count * kFloat);
               });
}

void EngineStates::share_state(std::int64_t unit, const float* mine, State state) {
  share_shards(
      unit, mine, {},
      [&store = roles_.store, state, unit](std::int64_t at, const float* from, std::int64_t count) {
        store.write(state, {unit, at, count, nullptr, nullptr, at}, {from, index(count)});
      });
}

void EngineStates::read(State state, std::span<float> out) const {
  const FlatLayout& layout = roles_.frame.layout;
  ensure(std::ssize(out) == layout.shard_total(), "ZeroEngine: a state buffer has the wrong size");
  for (std::int64_t u = 0; u < roles_.frame.units(); ++u) {
    const FlatLayout::Unit& unit = roles_.frame.unit(u);
    read_unit(state, u, out.subspan(index(unit.shard_offset), index(unit.shard)));
  }
}

void EngineStates::read_unit(State state, std::int64_t number, std::span<float> out) const {
  const FlatLayout::Unit& unit = roles_.frame.unit(number);
  ensure(std::ssize(out) == unit.shard, "ZeroEngine: a unit's buffer has the wrong size");
  roles_.parameters.wait_for(number);
  const StateStore::Slice mine = shard(number);
  if (!is_plain(state)) return roles_.store.read(state, mine, out);
  runtime::copy_now(roles_.frame.device, out.data(), roles_.store.at(state, mine),
                    unit.shard * kFloat);
  roles_.parameters.shard_was_read(number);
}

void EngineStates::write(State state, std::span<const float> in) {
  const EngineFrame& frame = roles_.frame;
  ensure(std::ssize(in) == frame.layout.shard_total(),
         "ZeroEngine: a state buffer has the wrong size");
  frame.collectives.barrier();  // nobody reads what a node has once
  for (std::int64_t u = 0; u < frame.units(); ++u) {
    const FlatLayout::Unit& unit = frame.unit(u);
    write_unit(state, u, in.subspan(index(unit.shard_offset), index(unit.shard)));
  }
  frame.collectives.barrier();
}

void EngineStates::write_unit(State state, std::int64_t number, std::span<const float> in) {
  const EngineFrame& frame = roles_.frame;
  const FlatLayout::Unit& unit = frame.unit(number);
  ensure(std::ssize(in) == unit.shard, "ZeroEngine: a unit's buffer has the wrong size");
  const StateStore::Slice mine = shard(number);
  if (!is_plain(state)) {
    if (!frame.policy.shard_optimizer) return share_state(number, in.data(), state);
    return roles_.store.write(state, mine, in);
  }
  if (state == State::kParameters || frame.policy.shard_optimizer) {
    roles_.parameters.wait_for(number);
    runtime::copy_now(frame.device, roles_.store.at(state, mine), in.data(), unit.shard * kFloat);
    if (state != State::kParameters) return;
    share_unit(number);
    roles_.parameters.replaced();
  } else {
    share_fp32(number, in.data(), whole(state, number));
  }
}

}  // namespace th::zero
