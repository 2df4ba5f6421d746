#pragma once

#include <atomic>
#include <cstdint>

#include "th/runtime/transport/mpi.hpp"

namespace th::runtime {

/// How ranks wait at a node's barrier: asleep at once, or first looking for a while.
enum class Waiting { kAsleep, kSpinFirst };
/// kSpinFirst where the node's ranks may run on at least as many cores as they are (the union of
/// their affinity masks), so that a rank that looks takes no core from one that still computes.
/// Collective over `node`; the same answer on all its ranks.
[[nodiscard]] Waiting waiting_of(const Communicator& node);

/// A barrier among the ranks of one node in shared memory. Waiting ranks sleep in the kernel
/// (futex), after a short spin where cores suffice, so that more ranks than cores do not burn the
/// cores of those that still compute.
class NodeBarrier {
 public:
  /// Collective over `node`. `progress`: a communicator whose messages are moved on now and then by
  /// ranks that wait here: an MPI may hold back the end of a message that it took as sent;
  /// MPI_COMM_NULL where the node's ranks send none.
  NodeBarrier(const Communicator& node, Waiting waiting, MPI_Comm progress = MPI_COMM_NULL);
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
  MPI_Comm progress_;
  std::uint32_t ranks_ = 1;
  int spins_ = 0;
};

}  // namespace th::runtime
