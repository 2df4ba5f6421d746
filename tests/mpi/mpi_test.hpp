#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "th/base/leave.hpp"
#include "th/runtime/transport/mpi.hpp"

namespace th_test {

/// Of MPI_COMM_WORLD.
inline int ranks() {
  int n = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &n);
  return n;
}
inline int rank() {
  int r = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &r);
  return r;
}

/// Ways to lay `ranks` ranks onto nodes, a node number for each: blocks of 1, 2, 3 and 4 (the last
/// node smaller where they do not divide), uneven nodes that begin in the middle of a subtree of
/// slots, round-robin over two and three nodes; each once.
inline std::vector<std::vector<int>> node_placements(int ranks) {
  std::vector<std::vector<int>> out;
  const auto add = [&](const auto& node_of) {
    std::vector<int> nodes;
    for (int r = 0; r < ranks; ++r) nodes.push_back(node_of(r));
    if (std::find(out.begin(), out.end(), nodes) == out.end()) out.push_back(nodes);
  };
  for (int size = 1; size <= 4; ++size) add([&](int r) { return r / size; });
  add([](int r) { return r == 0 ? 0 : 1; });
  add([](int r) { return r < 3 ? 0 : r < 5 ? 1 : 2; });
  for (int count = 2; count <= 3; ++count) add([&](int r) { return r % count; });
  return out;
}

/// Rank 0's values on every rank; `type` is MPI's name of T. Collective.
template <typename T>
void share_of_rank_0(std::vector<T>& values, MPI_Datatype type) {
  auto count = static_cast<std::int64_t>(values.size());
  MPI_Bcast(&count, 1, MPI_INT64_T, 0, MPI_COMM_WORLD);
  values.resize(static_cast<std::size_t>(count));
  MPI_Bcast(values.data(), static_cast<int>(count), type, 0, MPI_COMM_WORLD);
}

/// The numbers (fp64) and parameters (fp32) that rank 0 makes, on every rank: what one rank
/// computes by itself is not computed again by each. Collective.
template <typename Trace, typename Make>
Trace made_by_rank_0(const Make& make) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  Trace trace;
  if (rank == 0) trace = make();
  share_of_rank_0(trace.numbers, MPI_DOUBLE);
  share_of_rank_0(trace.parameters, MPI_FLOAT);
  return trace;
}

}  // namespace th_test

/// main of an MPI test: only rank 0 reports passes, every rank reports failures; a failure on any
/// rank fails all.
#define TH_MPI_TEST_MAIN                                                 \
  int main(int argc, char** argv) {                                      \
    int any = 0;                                                         \
    {                                                                    \
      th::runtime::MpiSession session(argc, argv);                       \
      testing::InitGoogleTest(&argc, argv);                              \
      const int failed = RUN_ALL_TESTS();                                \
      MPI_Allreduce(&failed, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD); \
    }                                                                    \
    th::leave(any);                                                      \
  }
