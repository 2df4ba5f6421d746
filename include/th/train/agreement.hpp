#pragma once

#include <functional>
#include <string>

#include "th/runtime/transport/control_calls.hpp"

namespace th::train {

/// Runs `body`, which must not call collectives, on every rank. An Error of any rank becomes the
/// same Error on all of them (the lowest failing rank's, with its exit code), so that one rank
/// reports it and all end with one code. `out_of_memory`: the way out that the message names if
/// there was too little memory. Collective.
void run_agreed(runtime::ControlCalls& control, const std::function<void()>& body,
                const std::string& out_of_memory = "th_app DECK --plan shows what the run takes");

}  // namespace th::train
