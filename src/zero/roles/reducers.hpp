#pragma once

#include <memory>

#include "zero/roles/gradient_reducer.hpp"

namespace th::zero {

/// The two reductions (comm.reduction); parameters as GradientReducer::make(). Collective.
[[nodiscard]] std::unique_ptr<GradientReducer> make_exact_reducer(const EngineFrame& frame,
                                                                  SlotAudit* audit, double* norms);
[[nodiscard]] std::unique_ptr<GradientReducer> make_fast_reducer(const EngineFrame& frame);

}  // namespace th::zero
