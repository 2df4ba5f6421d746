#include "zero/engine/spoil.hpp"

#include "th/model/memory/bit_flip.hpp"

namespace th::zero {

namespace {

bool in_host_memory(const EngineFrame& frame) {
  return frame.buffers.memory == runtime::DeviceMemory::kHost;
}

}  // namespace

void spoil_values(const EngineFrame& frame, std::int64_t number, model::UnitTensors& tensors) {
  // With such a matrix in a forward pass: two layers. The output's is in its backward pass.
  constexpr std::int64_t kLeastUnits = 2;
  if (!BitFlip::armed()) return;
  const FlatLayout::Unit& unit = frame.unit(number);
  for (std::int64_t t = 0; t < unit.tensor_count; ++t) {
    if (!frame.layout.tensors()[index(unit.first_tensor + t)].spec.one_product) continue;
    if (!BitFlip::here(BitFlip::Place::kWeights, kLeastUnits)) return;
    at::Tensor& values = tensors.values[index(t)];
    values = values.clone();
    return model::flip_bit(values, BitFlip::draw());
  }
}

void spoil_gradient(const EngineFrame& frame, BitFlip::Place place, std::int64_t unit,
                    std::byte* memory) {
  if (!BitFlip::here(place, frame.units()) || !in_host_memory(frame)) return;
  BitFlip::flip(
      {memory, index(frame.unit(unit).padded * element_size(frame.buffers.types.reduced))});
}

void spoil_parameters(const EngineFrame& frame, const StateSlices& slices, StateStore& store) {
  if (!in_host_memory(frame) || frame.policy.shard_parameters) return;
  frame.settle();
  const std::int64_t unit = frame.units() / 2;
  const std::int64_t count = frame.unit(unit).content;
  const auto flip = [](void* memory, std::int64_t bytes) {
    BitFlip::flip({static_cast<std::byte*>(memory), index(bytes)});
  };
  flip(slices.parameters.whole(unit), count * element_size(frame.buffers.types.working));
  if (frame.buffers.types.masters() && !frame.policy.shard_optimizer)
    flip(store.at(State::kParameters, slices.kept(unit)), count * kFloat);
}

}  // namespace th::zero
