#pragma once

#include <cstdint>
#include <vector>

namespace th::runtime {

/// Which ranks share a node's memory. This is only arithmetic, the same on every rank; nothing here
/// is collective.
class NodeMap {
 public:
  /// All ranks on one node.
  explicit NodeMap(int ranks = 1);
  /// Rank r is on the node `node_of_rank[r]`; nodes are numbered anew, from 0 by their lowest rank.
  explicit NodeMap(const std::vector<int>& node_of_rank);
  /// Ranks in order, `ranks_per_node` at a time, fewer on the last node; 0: all on one.
  [[nodiscard]] static NodeMap block(int ranks, int ranks_per_node);

  [[nodiscard]] int ranks() const noexcept { return static_cast<int>(node_.size()); }
  [[nodiscard]] int nodes() const noexcept { return static_cast<int>(ranks_of_.size()); }
  [[nodiscard]] int node_of(int rank) const { return node_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] bool share(int a, int b) const { return node_of(a) == node_of(b); }
  /// The node's ranks, ascending.
  [[nodiscard]] const std::vector<int>& ranks_of(int node) const {
    return ranks_of_[static_cast<std::size_t>(node)];
  }
  /// The index of a rank on its node, from 0 in rank order.
  [[nodiscard]] int place_of(int rank) const { return place_[static_cast<std::size_t>(rank)]; }
  /// The number of ranks on this rank's node, itself included.
  [[nodiscard]] int node_size(int rank) const {
    return static_cast<int>(ranks_of(node_of(rank)).size());
  }
  /// The number of ranks on other nodes.
  [[nodiscard]] int outsiders(int rank) const { return ranks() - node_size(rank); }
  /// The index of `rank`, which is not on `node`, among all ranks that are not, from 0 in rank
  /// order.
  [[nodiscard]] int outside_place(int node, int rank) const;
  /// The rank of `node` that receives the shard of `rank`, which is on another node. These shards
  /// are dealt to the node's ranks in turn.
  [[nodiscard]] int taker(int node, int rank) const;

 private:
  void index_nodes();
  std::vector<int> node_, place_;
  std::vector<std::vector<int>> ranks_of_;
};

/// Consecutive ranks of one node whose slots of a round are a whole subtree of the exact sum:
/// `count` is a power of two and divides the slot number of `first`. A single rank always is such a
/// block.
struct SlotBlock {
  int first = 0;
  int count = 1;
};

/// The ranks [0, present) that have a slot in the round whose rank 0 has `first_slot`, in the
/// largest such blocks, in rank order.
[[nodiscard]] std::vector<SlotBlock> slot_blocks(const NodeMap& nodes, std::int64_t first_slot,
                                                 int present);

/// The rank of the block that sends the block's sum to `owner`, which is on another node. The
/// owners are dealt to the block's ranks in turn.
[[nodiscard]] int sender_of(const NodeMap& nodes, const SlotBlock& block, int owner);
/// The number of owners to which `rank`, one of the block's, sends by sender_of().
[[nodiscard]] int sends_of(const NodeMap& nodes, const SlotBlock& block, int rank);

}  // namespace th::runtime
