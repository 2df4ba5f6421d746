#pragma once

#include "app/translate/request.hpp"
#include "th/runtime/transport/mpi.hpp"

namespace th::app {

/// Translates or scores by this process alone; the exit code. Throws Error.
[[nodiscard]] int run_alone(const Request& request);
/// The same with the ranks of `world`, of which rank 0 reads and writes. `node`: those that share
/// this one's cores. An Error is thrown on every rank, or on rank 0, and the code of both is
/// returned or thrown on all. Collective.
[[nodiscard]] int run_on_ranks(const Request& request, const runtime::Communicator& world,
                               const runtime::Communicator& node);

}  // namespace th::app
