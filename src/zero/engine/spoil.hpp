#pragma once

#include <cstddef>
#include <cstdint>

#include "th/base/bit_flip.hpp"
#include "th/model/parameters/parameters.hpp"
#include "th/zero/state_store.hpp"
#include "zero/roles/engine_frame.hpp"
#include "zero/roles/parameter_residency.hpp"
#include "zero/roles/state_slices.hpp"

// Testing aids (BitFlip): bits that a broken processor would flip, for audits to find. Not
// collective.
namespace th::zero {

/// A bit of a unit's values, of this opening alone.
void spoil_values(const EngineFrame& frame, std::int64_t unit, model::UnitTensors& tensors);
/// A bit of a unit's gradient, at `memory` in the reduction type.
void spoil_gradient(const EngineFrame& frame, BitFlip::Place place, std::int64_t unit,
                    std::byte* memory);
/// A bit of this rank's copy of the parameters.
void spoil_parameters(const EngineFrame& frame, const StateSlices& slices, StateStore& store);

}  // namespace th::zero
