#pragma once

#include <cstdint>

#include "th/zero/state_store.hpp"
#include "zero/roles/gradient_reducer.hpp"
#include "zero/roles/parameter_residency.hpp"

namespace th::zero {

/// The parts of a unit for the store: with their gradients and parameters.
struct StateSlices {
  /// What this rank keeps of a unit: its shard, or where states are not sharded all of it.
  [[nodiscard]] StateStore::Slice kept(std::int64_t number) const {
    const FlatLayout::Unit& unit = frame.unit(number);
    if (frame.policy.shard_optimizer) {
      StateStore::Slice slice = shard(number);
      slice.gradients = gradients.reduced(number);
      return slice;
    }
    return {number, 0, unit.padded, gradients.whole(number), parameters.whole(number)};
  }
  /// This rank's shard of a unit, without gradients.
  [[nodiscard]] StateStore::Slice shard(std::int64_t number) const {
    const std::int64_t shard = frame.unit(number).shard;
    return {number,
            frame.policy.shard_optimizer ? 0 : frame.rank * shard,
            shard,
            nullptr,
            parameters.shard(number),
            frame.rank * shard,
            element_size(frame.buffers.types.working)};
  }

  const EngineFrame& frame;
  const ParameterResidency& parameters;
  const GradientReducer& gradients;
};

}  // namespace th::zero
