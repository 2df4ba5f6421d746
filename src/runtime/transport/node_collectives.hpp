#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/transport/message_collectives.hpp"
#include "runtime/transport/node_barrier.hpp"
#include "runtime/transport/transport_buffers.hpp"

namespace th::runtime {

/// Ranks of a node read each other's buffers where they lie; what crosses nodes is messages
/// (MPI_Isend, MPI_Irecv), of which there are none on one node. A buffer that /dev/shm has no room
/// for travels by MessageCollectives.
///
/// A call completes its messages before it returns, so that nobody computes, or sleeps at the
/// node's barrier, while a peer waits for MPI's progress here.
class NodeCollectives final : public MessageCollectives {
 public:
  /// `node`: the ranks of this node in rank order. Collective.
  NodeCollectives(MPI_Comm world, Communicator node, NodeMap nodes, Waiting waiting);

  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate(std::int64_t bytes) override;
  [[nodiscard]] std::unique_ptr<TransportBuffer> allocate_shared(std::int64_t bytes,
                                                                 std::int64_t counted) override;
  [[nodiscard]] std::vector<Contribution> exchange(TransportBuffer& buffer, const RankParts& parts,
                                                   const SubtreeSum* sum) override;
  void finish_exchange() override { fence_.wait(); }
  void all_gather(TransportBuffer& buffer, const RankParts& parts, std::byte* full,
                  TransportBuffer* within) override;
  [[nodiscard]] std::vector<const std::byte*> shards(TransportBuffer& buffer,
                                                     const RankParts& parts) override;
  [[nodiscard]] std::int64_t communication_bytes() const noexcept override;
  [[nodiscard]] std::string description() const override;

 private:
  class Messages;
  void send_block(Messages& messages, WindowBuffer& window, const RankParts& parts,
                  const SlotBlock& block, const SubtreeSum* sum);
  /// Every rank's shard, at `mine` of its own window, to each node: those of other nodes into their
  /// takers' `landing`, at at_landing(r).
  template <typename Place>
  void bring_shards(WindowBuffer& window, std::int64_t mine, std::int64_t size,
                    WindowBuffer& landing, const Place& at_landing);
  /// The node's buffer for shards of other nodes, with room for `size` bytes of each; null when
  /// /dev/shm has no room.
  [[nodiscard]] WindowBuffer* landing(std::int64_t size);
  /// Every rank's shard into this rank's `full`.
  void gather_into(TransportBuffer& buffer, const RankParts& parts, std::byte* full);
  /// Whether a node has room for `copies` buffers. The same answer on every rank.
  [[nodiscard]] bool room_for(std::int64_t bytes, int copies);
  [[nodiscard]] bool here(int rank) const { return nodes_.share(rank, rank_); }
  [[nodiscard]] const std::byte* of(const WindowBuffer& window, int rank) const {
    return window.at_place(nodes_.place_of(rank));
  }

  Communicator node_;
  NodeBarrier fence_;
  std::unique_ptr<TransportBuffer> sums_;  ///< what this rank sends of its node's sums
  std::unique_ptr<WindowBuffer> landing_;
  bool crowded_ = false;
};

}  // namespace th::runtime
