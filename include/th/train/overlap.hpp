#pragma once

#include <optional>
#include <string>

#include "th/config/run_config.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/mpi.hpp"
#include "th/runtime/transport/transport_memory.hpp"

namespace th::train {

/// comm.overlap as on or off, and why.
struct OverlapChoice {
  config::Overlap overlap = config::Overlap::kOff;
  std::string reason;  ///< "auto: 4 cores for 2 ranks with 1 compute thread each"
};

/// What auto comes to on a node whose `ranks` may run on `cores` together: on where a core is left
/// for each rank's communication. On a GPU, which has a `transport`: on with NCCL, off where the
/// host stages, which then waits in each call.
[[nodiscard]] OverlapChoice choose_overlap(const config::RunConfig& config, int ranks, int cores,
                                           std::optional<runtime::Transport> transport = {});

/// The same answer on every rank, by the affinity masks of each node's ranks: on where it is on for
/// every node. Collective. Throws DeckError where comm.overlap is on and MPI lets one thread alone
/// call it. `node`: the ranks of this node.
[[nodiscard]] OverlapChoice resolve_overlap(const config::RunConfig& config,
                                            runtime::Collectives& collectives,
                                            const runtime::Communicator& node,
                                            std::optional<runtime::Transport> transport);

}  // namespace th::train
