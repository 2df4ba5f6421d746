#pragma once

#include <memory>
#include <vector>

#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {

/// Collectives among the ranks of `world`: ranks of a node read each other's buffers through an MPI
/// shared-memory window, and what crosses nodes is messages, each shard once a node, gradients as
/// the node's own sum where its ranks hold a whole subtree of slots. Where MPI gives no window (its
/// one-sided component has none, /dev/shm is missing or read-only), where /dev/shm has no room, and
/// with kMpi (tests, and the oracle of the window), everything travels by MPI's own all-to-all and
/// all-gather, with the same bits; shares_memory() and description() tell the first case.
/// Collective. The session must outlive the result. `pretended`: a node number for each rank, by
/// which the ranks of a node are split further (tests); empty: the nodes as they are.
enum class TransportChoice { kBest, kMpi };
[[nodiscard]] std::unique_ptr<Collectives> make_mpi_collectives(
    MPI_Comm world, TransportChoice choice = TransportChoice::kBest,
    const std::vector<int>& pretended = {});

}  // namespace th::runtime
