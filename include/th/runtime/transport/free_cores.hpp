#pragma once

#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {

/// How many cores the ranks of `node` may run on together, by the union of their affinity masks; 0
/// if it is not known. Collective over `node`; the same on all its ranks.
[[nodiscard]] int cores_of(const Communicator& node);

/// Whether any thread may call MPI, one at a time (MPI_THREAD_SERIALIZED or more).
[[nodiscard]] bool any_thread_may_call_mpi();

}  // namespace th::runtime
