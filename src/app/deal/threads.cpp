#include "app/deal/threads.hpp"

#include "th/runtime/transport/free_cores.hpp"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

namespace th::app {

namespace {

/// Cores that the control group grants, rounded up (cgroup v2, then v1); no limit: the largest
/// number.
std::int64_t granted_cores() {
  double quota = -1, period = 100000;
  if (std::ifstream file("/sys/fs/cgroup/cpu.max"); file) {
    std::string first;
    if (file >> first >> period && first != "max") quota = std::strtod(first.c_str(), nullptr);
  } else if (std::ifstream old("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"); old >> quota) {
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  }
  if (quota <= 0 || period <= 0) return std::numeric_limits<std::int64_t>::max();
  return std::max<std::int64_t>(1, std::llround(std::ceil(quota / period)));
}

std::int64_t mask_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) return std::max(1, CPU_COUNT(&mask));
  return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

std::int64_t own_cores() { return std::min(mask_cores(), granted_cores()); }

std::int64_t cores_of_rank(const runtime::Communicator& node) {
  const int together = runtime::cores_of(node);
  const std::int64_t all =
      std::min<std::int64_t>(together > 0 ? together : own_cores(), granted_cores());
  std::int64_t cores = std::min(mask_cores(), std::max<std::int64_t>(1, all / node.size()));
  runtime::check_mpi(MPI_Allreduce(MPI_IN_PLACE, &cores, 1, MPI_INT64_T, MPI_MIN, node.get()),
                     "MPI_Allreduce");
  return cores;
}

}  // namespace th::app
