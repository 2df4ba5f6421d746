#pragma once

#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {

/// Cores on which the ranks of `node` may run together, the union of their affinity masks; 0 where
/// it is not known. Collective over `node`; the same on all its ranks.
[[nodiscard]] int cores_of(const Communicator& node);

/// Whether MPI may be called by any thread, one at a time (MPI_THREAD_SERIALIZED or more).
[[nodiscard]] bool any_thread_may_call_mpi();

}  // namespace th::runtime
