#pragma once

#include <cstdint>

#include "th/runtime/transport/mpi.hpp"

namespace th::app {

/// Cores that a process of its own may use: its affinity mask, and below it the limit of its
/// cgroup. At least 1.
[[nodiscard]] std::int64_t own_cores();
/// The same for each of the ranks of a node, which share its cores: as many for all. Collective
/// over `node`.
[[nodiscard]] std::int64_t cores_of_rank(const runtime::Communicator& node);

}  // namespace th::app
