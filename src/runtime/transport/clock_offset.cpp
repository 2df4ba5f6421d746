#include "th/runtime/transport/clock_offset.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

namespace th::runtime {

ClockOffset measure_clock_offset(Collectives& collectives, std::int64_t (*clock)()) {
  constexpr int kBarriers = 20;
  const NodeMap nodes = collectives.nodes();
  if (nodes.nodes() == 1) return {};
  const int node = nodes.node_of(collectives.rank()), node_of_first = nodes.node_of(0);
  double least = -std::numeric_limits<double>::infinity(), most = -least;
  // Entered and left, of each rank.
  std::vector<double> all(2 * static_cast<std::size_t>(collectives.size()));
  const auto entered = [&](int rank) { return all[2 * static_cast<std::size_t>(rank)]; };
  const auto left = [&](int rank) { return all[2 * static_cast<std::size_t>(rank) + 1]; };
  for (int k = 0; k < kBarriers; ++k) {
    std::array<double, 2> mine{static_cast<double>(clock()), 0};
    collectives.barrier();
    mine[1] = static_cast<double>(clock());
    collectives.control().all_gather_doubles(mine, all);
    for (const int here : nodes.ranks_of(node)) {
      for (const int there : nodes.ranks_of(node_of_first)) {
        least = std::max(least, entered(here) - left(there));
        most = std::min(most, left(here) - entered(there));
      }
    }
  }
  if (node == node_of_first) return {};
  return {static_cast<std::int64_t>((least + most) / 2),
          static_cast<std::int64_t>((most - least) / 2) + 1};
}

}  // namespace th::runtime
