#pragma once

#include <functional>
#include <string>

#include "th/runtime/transport/mpi.hpp"

namespace th::app {

/// work() on every rank. Where it threw on any of them, all throw the error of the lowest of those
/// (Error::Thrown::kEverywhere). Collective.
void run_on_all(const runtime::Communicator& world, const std::function<void()>& work);
/// The code and the text of the exception that is being handled, as packed_error() has them.
[[nodiscard]] std::string current_error();

}  // namespace th::app
