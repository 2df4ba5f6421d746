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
  /// The beginning of a batch follows, on every rank.
  virtual void begin_batch() = 0;
  /// So many steps of it follow, on every rank.
  virtual void begin_steps(std::int64_t steps) = 0;
  model::UnitTensors& open_backward(std::int64_t unit) final;
  void close_backward(std::int64_t unit) final;
};

/// Where copies of gathered units lie in host memory: one unit at a time, and beside it those that
/// stay open. `layout` is of one rank.
[[nodiscard]] UnitPlaces host_places(const FlatLayout& layout, const UnitUse& use);

}  // namespace th::zero
