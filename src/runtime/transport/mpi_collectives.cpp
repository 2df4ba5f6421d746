#include "th/runtime/transport/mpi_collectives.hpp"

#include "runtime/transport/message_collectives.hpp"
#include "runtime/transport/node_collectives.hpp"
#include "th/base/error.hpp"

#include <cstdlib>
#include <string>
#include <utility>

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

/// Where no window can be had.
class WindowlessCollectives final : public MessageCollectives {
 public:
  WindowlessCollectives(MPI_Comm world, NodeMap nodes, std::string why)
      : MessageCollectives(world, std::move(nodes)), why_(std::move(why)) {}
  [[nodiscard]] bool shares_memory() const noexcept override { return false; }
  [[nodiscard]] std::string description() const override {
    return "MPI messages alone (no shared-memory window: " + why_ + ")";
  }

 private:
  std::string why_;
};

/// Why this rank can't have a window with the others of its node; empty: it can. Collective over
/// `node`.
std::string why_no_window(const Communicator& node, MPI_Win& window) {
  constexpr MPI_Aint kBytes = 64;
  void* memory = nullptr;
  try {
    check_mpi(MPI_Win_allocate_shared(kBytes, 1, MPI_INFO_NULL, node.get(), &memory, &window),
              "MPI_Win_allocate_shared");
    MPI_Aint size = 0;
    int unit = 0;
    check_mpi(MPI_Win_shared_query(window, 0, &size, &unit, &memory), "MPI_Win_shared_query");
  } catch (const MpiError& error) {
    const char* component = std::getenv("OMPI_MCA_osc");
    return std::string(error.what()) +
           (component == nullptr
                ? ""
                : std::string("; OMPI_MCA_osc is ") + component + ", and windows are those of sm");
  }
  return "";
}

/// Tries a window; empty where every rank has one, else the reason of the lowest rank that has
/// none. Collective over `world`.
std::string no_windows(MPI_Comm world, const Communicator& node) {
  MPI_Win window = MPI_WIN_NULL;
  std::string why = why_no_window(node, window);
  int ranks = 0, rank = 0;
  check_mpi(MPI_Comm_size(world, &ranks), "MPI_Comm_size");
  check_mpi(MPI_Comm_rank(world, &rank), "MPI_Comm_rank");
  int first = why.empty() ? ranks : rank;
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, world), "MPI_Allreduce");
  if (first == ranks) {
    check_mpi(MPI_Win_free(&window), "MPI_Win_free");
    return "";
  }
  // A window that some ranks have is left: freeing it needs those that have none.
  int length = static_cast<int>(why.size());
  check_mpi(MPI_Bcast(&length, 1, MPI_INT, first, world), "MPI_Bcast");
  why.resize(static_cast<std::size_t>(length));
  check_mpi(MPI_Bcast(why.data(), length, MPI_BYTE, first, world), "MPI_Bcast");
  return why;
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
  if (std::string why = no_windows(world, node); !why.empty())
    return std::make_unique<WindowlessCollectives>(world, std::move(nodes), std::move(why));
  return std::make_unique<NodeCollectives>(world, std::move(node), std::move(nodes), waiting);
}

}  // namespace th::runtime
