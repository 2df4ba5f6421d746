#pragma once

#include <memory>
#include <vector>

#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {

/// Makes collectives among the ranks of `world`. Ranks of a node read each other's buffers through
/// an MPI shared-memory window. Data crosses nodes in messages: each shard once a node, gradients
/// as the node's own sum if its ranks hold a whole subtree of slots. If MPI gives no window (its
/// one-sided component has none, /dev/shm is missing or read-only), if /dev/shm has no room, and
/// with kMpi (for tests, and as the oracle of the window), everything is sent by MPI's own
/// all-to-all and all-gather, with the same bits. shares_memory() and description() show the first
/// case. Collective. The session must outlive the result. `pretended`: a node number for each rank,
/// by which the ranks of a node are split further (tests); empty: the real nodes.
enum class TransportChoice { kBest, kMpi };
[[nodiscard]] std::unique_ptr<Collectives> make_mpi_collectives(
    MPI_Comm world, TransportChoice choice = TransportChoice::kBest,
    const std::vector<int>& pretended = {});

}  // namespace th::runtime
