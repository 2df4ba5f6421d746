#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "th/model/parameters/parameters.hpp"
#include "th/zero/engine_buffers.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::zero {

/// Parameters that the ranks gather unit by unit while they decode in lock step: each opens the
/// same units in the same order, whether it has a batch (model::BatchSearch) or none
/// (model::IdleDecoding). Forward pass only; opening is collective.
class DecodingSource : public model::ParameterSource {
 public:
  /// Says that every rank begins a batch next.
  virtual void begin_batch() = 0;
  /// Says that every rank takes so many steps of it next.
  virtual void begin_steps(std::int64_t steps) = 0;
  model::UnitTensors& open_backward(std::int64_t unit) final;
  void close_backward(std::int64_t unit) final;
};

/// The places of gathered units' copies in host memory: one for the unit in use, and one for each
/// unit that stays open. `layout` is of one rank.
[[nodiscard]] UnitPlaces host_places(const FlatLayout& layout, const UnitUse& use);

}  // namespace th::zero
