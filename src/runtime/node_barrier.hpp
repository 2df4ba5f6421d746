#pragma once

#include <atomic>
#include <cstdint>

#include "th/runtime/mpi.hpp"

namespace th::runtime {

/// A barrier among the ranks of one node in shared memory. Waiting ranks sleep in the kernel (futex) after a short spin, so that more
/// ranks than cores do not burn the cores of those that still compute.
class NodeBarrier {
 public:
  /// Collective over `node`.
  explicit NodeBarrier(const Communicator& node);
  ~NodeBarrier();
  NodeBarrier(const NodeBarrier&) = delete;
  NodeBarrier& operator=(const NodeBarrier&) = delete;
  void wait();

 private:
  struct State {
    std::atomic<std::uint32_t> arrived;
    std::atomic<std::uint32_t> generation;
  };
  MPI_Win window_ = MPI_WIN_NULL;
  State* state_ = nullptr;
  std::uint32_t ranks_ = 1;
  int spins_ = 0;
};

}  // namespace th::runtime
