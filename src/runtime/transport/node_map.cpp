#include "th/runtime/transport/node_map.hpp"

#include "th/base/error.hpp"

#include <algorithm>
#include <bit>
#include <map>

namespace th::runtime {

NodeMap::NodeMap(int ranks) : node_(static_cast<std::size_t>(ranks), 0) {
  ensure(ranks >= 1, "NodeMap: the rank count must be at least 1");
  index_nodes();
}

NodeMap::NodeMap(const std::vector<int>& node_of_rank) {
  ensure(!node_of_rank.empty(), "NodeMap: the rank count must be at least 1");
  std::map<int, int> numbers;
  for (const int node : node_of_rank)
    node_.push_back(numbers.emplace(node, static_cast<int>(numbers.size())).first->second);
  index_nodes();
}

NodeMap NodeMap::block(int ranks, int ranks_per_node) {
  std::vector<int> node_of_rank;
  for (int r = 0; r < ranks; ++r)
    node_of_rank.push_back(ranks_per_node > 0 ? r / ranks_per_node : 0);
  return NodeMap(node_of_rank);
}

void NodeMap::index_nodes() {
  for (int r = 0; r < ranks(); ++r) {
    const auto node = static_cast<std::size_t>(node_of(r));
    if (node >= ranks_of_.size()) ranks_of_.resize(node + 1);
    place_.push_back(static_cast<int>(ranks_of_[node].size()));
    ranks_of_[node].push_back(r);
  }
}

int NodeMap::outside_place(int node, int rank) const {
  const std::vector<int>& inside = ranks_of(node);
  return rank -
         static_cast<int>(std::lower_bound(inside.begin(), inside.end(), rank) - inside.begin());
}

int NodeMap::taker(int node, int rank) const {
  const std::vector<int>& inside = ranks_of(node);
  return inside[static_cast<std::size_t>(outside_place(node, rank)) % inside.size()];
}

std::vector<SlotBlock> slot_blocks(const NodeMap& nodes, std::int64_t first_slot, int present) {
  std::vector<SlotBlock> out;
  for (int r = 0; r < present;) {
    int end = r + 1;
    while (end < present && nodes.share(r, end)) ++end;
    while (r < end) {
      const auto slot = static_cast<std::uint64_t>(first_slot + r);
      const std::uint64_t run = std::bit_floor(static_cast<std::uint64_t>(end - r));
      // The largest power of two that divides the slot.
      const std::uint64_t aligned = slot == 0 ? run : slot & (~slot + 1);
      out.push_back({r, static_cast<int>(std::min(run, aligned))});
      r += out.back().count;
    }
  }
  return out;
}

int sender_of(const NodeMap& nodes, const SlotBlock& block, int owner) {
  return block.first + nodes.outside_place(nodes.node_of(block.first), owner) % block.count;
}

int sends_of(const NodeMap& nodes, const SlotBlock& block, int rank) {
  const int owners = nodes.outsiders(block.first);
  return owners / block.count + (rank - block.first < owners % block.count ? 1 : 0);
}

}  // namespace th::runtime
