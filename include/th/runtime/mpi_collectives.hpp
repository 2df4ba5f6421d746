#pragma once

#include <memory>

#include "th/runtime/collectives.hpp"
#include "th/runtime/mpi.hpp"

namespace th::runtime {

/// Collectives among the ranks of `world`: through an MPI shared-memory window where all of them share a node (and /dev/shm has room),
/// else by MPI's own all-to-all and all-gather. Collective. The session must outlive the result.
/// `force_mpi` takes the MPI transport although a window could be had (tests, and the oracle of the window).
enum class TransportChoice { kBest, kMpi };
[[nodiscard]] std::unique_ptr<Collectives> make_mpi_collectives(MPI_Comm world, TransportChoice choice = TransportChoice::kBest);

}  // namespace th::runtime
