#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <vector>

#include "th/base/error.hpp"
#include "th/runtime/transport/node_map.hpp"

namespace th::runtime {
namespace {

std::vector<std::pair<int, int>> blocks(const NodeMap& nodes, std::int64_t first_slot,
                                        int present) {
  std::vector<std::pair<int, int>> out;
  for (const SlotBlock& block : slot_blocks(nodes, first_slot, present))
    out.emplace_back(block.first, block.count);
  return out;
}

using Blocks = std::vector<std::pair<int, int>>;

TEST(NodeMap, NumbersNodesByTheirLowestRankAndRanksByTheirPlace) {
  const NodeMap map(std::vector<int>{7, 3, 7, 7, 3});
  EXPECT_EQ(map.nodes(), 2);
  EXPECT_EQ(map.ranks_of(0), (std::vector<int>{0, 2, 3}));
  EXPECT_EQ(map.ranks_of(1), (std::vector<int>{1, 4}));
  EXPECT_EQ(map.place_of(3), 2);
  EXPECT_EQ(map.outsiders(0), 2);
  EXPECT_EQ(map.outside_place(0, 4), 1);
  EXPECT_EQ(map.outside_place(1, 3), 2);
}

TEST(NodeMap, BlocksOfRanksLeaveTheRestToTheLastNode) {
  EXPECT_EQ(NodeMap::block(7, 3).ranks_of(2), (std::vector<int>{6}));
  EXPECT_EQ(NodeMap::block(7, 0).nodes(), 1);
  EXPECT_THROW(NodeMap(0), InternalError);
}

TEST(SlotBlocks, AreTheLargestWholeSubtreesOfANode) {
  EXPECT_EQ(blocks(NodeMap(8), 0, 8), (Blocks{{0, 8}}));
  EXPECT_EQ(blocks(NodeMap::block(8, 4), 8, 8), (Blocks{{0, 4}, {4, 4}}));
  EXPECT_EQ(blocks(NodeMap::block(6, 3), 0, 6), (Blocks{{0, 2}, {2, 1}, {3, 1}, {4, 2}}));
  // Ranks 0 to 3 of six have the slots 6 to 9 in the second round: 6 and 7 are a subtree, 8 and 9
  // are another.
  EXPECT_EQ(blocks(NodeMap::block(6, 4), 6, 6), (Blocks{{0, 2}, {2, 2}, {4, 2}}));
  EXPECT_EQ(blocks(NodeMap(std::vector<int>{0, 1, 0, 1}), 0, 4),
            (Blocks{{0, 1}, {1, 1}, {2, 1}, {3, 1}}))
      << "round-robin: each by itself";
  EXPECT_EQ(blocks(NodeMap::block(8, 4), 8, 5), (Blocks{{0, 4}, {4, 1}})) << "a ragged last round";
}

TEST(SlotBlocks, OwnersOutsideAndShardsAreDealtEvenly) {
  for (const int size : {1, 2, 3, 4}) {
    const NodeMap nodes = NodeMap::block(11, size);
    for (const SlotBlock& block : slot_blocks(nodes, 22, 11)) {
      std::map<int, int> sends;
      for (int owner = 0; owner < 11; ++owner) {
        if (nodes.share(owner, block.first)) continue;
        ++sends[sender_of(nodes, block, owner)];
      }
      for (int r = block.first; r < block.first + block.count; ++r) {
        EXPECT_EQ(sends[r], sends_of(nodes, block, r)) << "rank " << r << ", nodes of " << size;
        EXPECT_NEAR(sends[r], static_cast<double>(nodes.outsiders(r)) / block.count, 0.999);
      }
    }
    for (int node = 0; node < nodes.nodes(); ++node) {
      std::map<int, int> taken;
      for (int r = 0; r < 11; ++r) {
        if (nodes.node_of(r) == node) continue;
        EXPECT_EQ(nodes.node_of(nodes.taker(node, r)), node);
        ++taken[nodes.taker(node, r)];
      }
      for (const auto& [rank, count] : taken)
        EXPECT_NEAR(count, static_cast<double>(nodes.outsiders(rank)) / nodes.node_size(rank),
                    0.999);
    }
  }
}

}  // namespace
}  // namespace th::runtime
