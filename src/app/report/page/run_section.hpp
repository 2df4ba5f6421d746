#pragma once

#include <string>

#include "app/report/files/run_data.hpp"

namespace th::app {

/// Everything of one run but its pictures, as HTML: how it ended, identity, scores, memory, time,
/// samples, checkpoints, deck with origins, warnings.
[[nodiscard]] std::string run_section(const RunData& run);

}  // namespace th::app
