#pragma once

#include "th/runtime/observe/signals.hpp"

namespace th::app {

/// Whether a signal asked this process to stop.
[[nodiscard]] inline bool stop_requested() { return runtime::StopSignals::stop_requested() != 0; }

}  // namespace th::app
