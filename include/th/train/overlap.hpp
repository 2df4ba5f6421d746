#pragma once

#include <optional>
#include <string>

#include "th/config/run_config.hpp"
#include "th/runtime/transport/control_calls.hpp"
#include "th/runtime/transport/mpi.hpp"
#include "th/runtime/transport/transport_memory.hpp"

namespace th::train {

/// comm.overlap as on or off, and why.
struct OverlapChoice {
  config::Overlap overlap = config::Overlap::kOff;
  std::string reason;  ///< "auto: 4 cores for 2 ranks with 1 compute thread each"
};

/// What auto means on a node whose `ranks` may together run on `cores` cores: on if a core is left
/// for each rank's communication. A run on GPUs gives its `transport`: auto is on with NCCL, and
/// off if the host stages, because the host then waits in each call.
[[nodiscard]] OverlapChoice choose_overlap(const config::RunConfig& config, int ranks, int cores,
                                           std::optional<runtime::Transport> transport = {});

/// Resolves comm.overlap, the same on every rank, by the affinity masks of each node's ranks; auto
/// is on if it is on for every node. Collective. Throws DeckError if comm.overlap is on and MPI
/// lets only one thread call it. `node`: the ranks of this node.
[[nodiscard]] OverlapChoice resolve_overlap(const config::RunConfig& config,
                                            runtime::ControlCalls& control,
                                            const runtime::Communicator& node,
                                            std::optional<runtime::Transport> transport);

}  // namespace th::train
