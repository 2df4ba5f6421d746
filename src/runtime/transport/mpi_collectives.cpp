#include "th/runtime/transport/mpi_collectives.hpp"

#include "runtime/transport/message_collectives.hpp"
#include "runtime/transport/node_collectives.hpp"
#include "th/base/error.hpp"

namespace th::runtime {

namespace {

/// The number of the lowest rank on each rank's node. Collective over `world`.
NodeMap map_of(MPI_Comm world, const Communicator& node) {
  int ranks = 0, lowest = 0;
  check_mpi(MPI_Comm_size(world, &ranks), "MPI_Comm_size");
  check_mpi(MPI_Comm_rank(world, &lowest), "MPI_Comm_rank");
  check_mpi(MPI_Bcast(&lowest, 1, MPI_INT, 0, node.get()), "MPI_Bcast");
  std::vector<int> node_of_rank(static_cast<std::size_t>(ranks));
  check_mpi(MPI_Allgather(&lowest, 1, MPI_INT, node_of_rank.data(), 1, MPI_INT, world),
            "MPI_Allgather");
  return NodeMap(node_of_rank);
}

}  // namespace

std::unique_ptr<Collectives> make_mpi_collectives(MPI_Comm world, TransportChoice choice,
                                                  const std::vector<int>& pretended) {
  Communicator node = Communicator::split_shared(world);
  const Waiting waiting = waiting_of(node);  // cores are those of the real node
  if (!pretended.empty()) {
    int rank = 0;
    check_mpi(MPI_Comm_rank(world, &rank), "MPI_Comm_rank");
    node = node.split(pretended.at(static_cast<std::size_t>(rank)));
  }
  NodeMap nodes = map_of(world, node);
  if (choice == TransportChoice::kMpi)
    return std::make_unique<MessageCollectives>(world, std::move(nodes));
  return std::make_unique<NodeCollectives>(world, std::move(node), std::move(nodes), waiting);
}

}  // namespace th::runtime
