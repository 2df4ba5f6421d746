#pragma once

#include <functional>

#include "th/runtime/transport/collectives.hpp"

namespace th::train {

/// Runs `body`, which must not call collectives, on every rank; an Error of any rank becomes the
/// same Error on all of them (the lowest failing rank's, with its exit code), so that one rank
/// reports it and all leave with one code. Collective.
void run_agreed(runtime::Collectives& collectives, const std::function<void()>& body);

}  // namespace th::train
