#include "th/runtime/transport/free_cores.hpp"

#include <sched.h>

namespace th::runtime {

int cores_of(const Communicator& node) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0)
    CPU_ZERO(&mask);  // more than CPU_SETSIZE processors
  check_mpi(MPI_Allreduce(MPI_IN_PLACE, &mask, sizeof mask, MPI_BYTE, MPI_BOR, node.get()),
            "MPI_Allreduce");
  return CPU_COUNT(&mask);
}

bool any_thread_may_call_mpi() {
  int level = MPI_THREAD_SINGLE;
  check_mpi(MPI_Query_thread(&level), "MPI_Query_thread");
  return level >= MPI_THREAD_SERIALIZED;
}

}  // namespace th::runtime
