#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/zero/slot_tree.hpp"

namespace th::zero {
namespace {

using Floats = std::vector<float>;

/// Values over six powers of ten with both signs: another order of additions gives other bits.
Floats contribution(std::uint64_t slot, std::int64_t count) {
  Floats out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::uint64_t word = hash_pair(slot + 1, i);
    const double mantissa = static_cast<double>(word >> 11) * 0x1.0p-52 - 1.0;
    out[i] = static_cast<float>(mantissa * std::pow(10.0, static_cast<double>(word % 7) - 3.0));
  }
  return out;
}

/// The sum of slots [first, first + size), size a power of two: halves first.
float block_sum(const std::vector<Floats>& slots, std::size_t i, std::size_t first,
                std::size_t size) {
  if (size == 1) return slots[first][i];
  return block_sum(slots, i, first, size / 2) + block_sum(slots, i, first + size / 2, size / 2);
}

/// What the tree is: the slot count's binary digits cut the slots into aligned blocks, the largest
/// first; the blocks are added from the smallest.
Floats tree_sum(const std::vector<Floats>& slots) {
  Floats out(slots[0].size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::vector<float> blocks;
    for (std::size_t first = 0; first < slots.size();) {
      const std::size_t size = std::bit_floor(slots.size() - first);
      blocks.push_back(block_sum(slots, i, first, size));
      first += size;
    }
    float total = blocks.back();
    for (std::size_t b = blocks.size() - 1; b-- > 0;) total = blocks[b] + total;
    out[i] = total;
  }
  return out;
}

std::vector<Floats> contributions(std::int64_t slots, std::int64_t count) {
  std::vector<Floats> out;
  for (std::int64_t s = 0; s < slots; ++s)
    out.push_back(contribution(static_cast<std::uint64_t>(s), count));
  return out;
}

bool same_float_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Feeds the slots in rounds of `ranks`; `parts` cuts the shard into units that are fed one after
/// the other, the last first.
Floats run_tree(const std::vector<Floats>& slots, std::int64_t ranks,
                const std::vector<std::int64_t>& parts) {
  const auto count = static_cast<std::int64_t>(slots[0].size());
  SlotTree tree(SlotDealing{std::ssize(slots), ranks}.ends(), count);
  Floats out(slots[0].size(), -77.0F);
  for (std::int64_t first = 0; first < std::ssize(slots); first += ranks) {
    const std::int64_t end = std::min(first + ranks, std::ssize(slots));
    std::int64_t offset = count;
    for (std::size_t p = parts.size(); p-- > 0;) {
      offset -= parts[p];
      std::vector<const float*> pieces;
      for (std::int64_t s = first; s < end; ++s)
        pieces.push_back(slots[static_cast<std::size_t>(s)].data() + offset);
      const bool done = tree.add<float>(first, pieces, offset, parts[p], out.data() + offset);
      EXPECT_EQ(done, end == std::ssize(slots));
    }
  }
  return out;
}

TEST(SlotTree, BitsAreThoseOfTheTreeOverSlotNumbersForEveryRankCount) {
  for (std::int64_t slots = 1; slots <= 20; ++slots) {
    const auto values = contributions(slots, 1500);  // two cache blocks, the second one broken
    const Floats expected = tree_sum(values);
    for (std::int64_t ranks = 1; ranks <= 8; ++ranks) {
      EXPECT_TRUE(same_float_bits(run_tree(values, ranks, {1500}), expected))
          << slots << " slots, " << ranks << " ranks";
    }
  }
}

TEST(SlotTree, ManySlotsAndManyRanksGiveTheSameBits) {
  const auto values = contributions(203, 40);
  const Floats expected = tree_sum(values);
  for (const std::int64_t ranks : {1, 7, 12, 16, 31, 64, 100, 202, 203, 300}) {
    EXPECT_TRUE(same_float_bits(run_tree(values, ranks, {40}), expected)) << ranks << " ranks";
  }
}

TEST(SlotTree, TheOrderOfTheTestValuesMatters) {
  const auto values = contributions(9, 1500);
  Floats in_turn = values[0];
  for (std::size_t s = 1; s < values.size(); ++s) {
    for (std::size_t i = 0; i < in_turn.size(); ++i) in_turn[i] += values[s][i];
  }
  EXPECT_FALSE(same_float_bits(in_turn, tree_sum(values)));
}

TEST(SlotTree, UnitsAtTheirOffsetsDoNotDisturbOneAnother) {
  for (const std::int64_t slots : {3, 5, 8, 13, 20}) {
    const auto values = contributions(slots, 4096);
    const Floats expected = tree_sum(values);
    for (std::int64_t ranks = 1; ranks <= 8; ++ranks) {
      EXPECT_TRUE(same_float_bits(run_tree(values, ranks, {256, 1280, 1024, 512, 1024}), expected))
          << slots << " slots, " << ranks << " ranks";
    }
  }
}

TEST(SlotTree, TheResultMayReplaceAnyPieceOfTheLastRound) {
  for (const std::int64_t slots : {1, 2, 3, 5, 7, 8}) {
    const Floats expected = tree_sum(contributions(slots, 1500));
    for (std::int64_t ranks = 1; ranks <= slots; ++ranks) {
      const std::int64_t last = (slots - 1) / ranks * ranks;
      for (std::int64_t target = last; target < slots; ++target) {
        auto values = contributions(slots, 1500);
        SlotTree tree(SlotDealing{slots, ranks}.ends(), 1500);
        for (std::int64_t first = 0; first <= last; first += ranks) {
          std::vector<const float*> pieces;
          for (std::int64_t s = first; s < std::min(first + ranks, slots); ++s)
            pieces.push_back(values[static_cast<std::size_t>(s)].data());
          (void)tree.add<float>(first, pieces, 0, 1500,
                                values[static_cast<std::size_t>(target)].data());
        }
        EXPECT_TRUE(same_float_bits(values[static_cast<std::size_t>(target)], expected))
            << slots << " slots, " << ranks << " ranks, into " << target;
      }
    }
  }
}

TEST(SlotTree, PiecesMayBeOverwrittenBetweenRounds) {
  const auto values = contributions(7, 300);
  SlotTree tree(SlotDealing{7, 2}.ends(), 300);
  Floats a(300), b(300), out(300);
  for (std::int64_t first = 0; first < 7; first += 2) {
    a = values[static_cast<std::size_t>(first)];
    std::vector<const float*> pieces{a.data()};
    if (first + 1 < 7) {
      b = values[static_cast<std::size_t>(first) + 1];
      pieces.push_back(b.data());
    }
    (void)tree.add<float>(first, pieces, 0, 300, out.data());
    a.assign(300, -1e30F);
    b.assign(300, -1e30F);
  }
  EXPECT_TRUE(same_float_bits(out, tree_sum(values)));
}

TEST(SlotTree, ATreeIsUsedAgainForTheNextStep) {
  const auto values = contributions(11, 64);
  SlotTree tree(SlotDealing{11, 3}.ends(), 64);
  for (int step = 0; step < 3; ++step) {
    Floats out(64);
    for (std::int64_t first = 0; first < 11; first += 3) {
      std::vector<const float*> pieces;
      for (std::int64_t s = first; s < std::min<std::int64_t>(first + 3, 11); ++s)
        pieces.push_back(values[static_cast<std::size_t>(s)].data());
      (void)tree.add<float>(first, pieces, 0, 64, out.data());
    }
    EXPECT_TRUE(same_float_bits(out, tree_sum(values))) << "step " << step;
  }
}

TEST(SlotTree, OneRoundLeavesNothingPending) {
  for (std::int64_t slots = 1; slots <= 20; ++slots) {
    EXPECT_EQ(SlotTree::pending_buffers(SlotDealing{slots, slots}.ends()), 0);
    EXPECT_EQ(SlotTree(SlotDealing{slots, slots + 3}.ends(), 1000).bytes(), 0);
  }
}

TEST(SlotTree, PendingBuffersAreTheMostBitsOfAnyRoundsBorder) {
  EXPECT_EQ(SlotTree::pending_buffers(SlotDealing{8, 1}.ends()),
            3);  // after seven slots: 4 + 2 + 1
  EXPECT_EQ(SlotTree::pending_buffers(SlotDealing{8, 2}.ends()), 2);  // after six: 4 + 2
  EXPECT_EQ(SlotTree::pending_buffers(SlotDealing{8, 3}.ends()), 2);  // after three: 2 + 1
  EXPECT_EQ(SlotTree::pending_buffers(SlotDealing{8, 4}.ends()), 1);
  EXPECT_EQ(SlotTree::pending_buffers(SlotDealing{8, 8}.ends()), 0);
  EXPECT_EQ(SlotTree::pending_buffers(SlotDealing{64, 8}.ends()), 3);
}

TEST(SlotTree, AllocatesThePendingBuffersAndStaysLogarithmic) {
  for (std::int64_t slots = 1; slots <= 70; ++slots) {
    for (std::int64_t ranks = 1; ranks <= 8; ++ranks) {
      const std::int64_t pending = SlotTree::pending_buffers(SlotDealing{slots, ranks}.ends());
      EXPECT_EQ(SlotTree(SlotDealing{slots, ranks}.ends(), 10).bytes(), pending * 10 * 4);
      EXPECT_LE(pending,
                static_cast<std::int64_t>(std::bit_width(static_cast<std::uint64_t>(slots - 1))));
    }
  }
}

TEST(SlotTree, SumsOfWholeSubtreesMayComeInTheirSlotsPlace) {
  // Every round's slots cut into the largest aligned blocks of at most `widest`, each added
  // elsewhere.
  for (const std::int64_t slots : {3, 8, 13, 20}) {
    const auto values = contributions(slots, 1500);
    const Floats expected = tree_sum(values);
    for (const std::int64_t ranks : {1, 3, 4, 6, 8}) {
      for (const std::int64_t widest : {2, 4, 8}) {
        SlotTree tree(SlotDealing{slots, ranks}.ends(), 1500);
        Floats out(1500);
        for (std::int64_t first = 0; first < slots; first += ranks) {
          std::vector<SlotTree::Leaf> leaves;
          std::vector<Floats> sums;
          sums.reserve(static_cast<std::size_t>(ranks));
          const std::int64_t end = std::min(first + ranks, slots);
          for (std::int64_t at = first; at < end;) {
            std::int64_t size = widest;
            while (at % size != 0 || at + size > end) size /= 2;
            std::vector<const float*> pieces;
            for (std::int64_t s = at; s < at + size; ++s)
              pieces.push_back(values[static_cast<std::size_t>(s)].data());
            if (size > 1)
              SlotTree::subtree_sum<float>(pieces, 1500, sums.emplace_back(1500).data());
            leaves.push_back({size > 1 ? sums.back().data() : pieces[0], size});
            at += size;
          }
          (void)tree.add<float>(first, std::span<const SlotTree::Leaf>(leaves), 0, 1500,
                                out.data());
        }
        EXPECT_TRUE(same_float_bits(out, expected))
            << slots << " slots, " << ranks << " ranks, blocks of " << widest;
      }
    }
  }
}

TEST(SlotTree, RefusesASumThatIsNoSubtree) {
  const Floats x(4, 1.0F);
  Floats out(4);
  SlotTree tree(SlotDealing{8, 8}.ends(), 4);
  const std::vector<SlotTree::Leaf> shifted{{x.data(), 1}, {x.data(), 2}}, odd{{x.data(), 3}};
  EXPECT_THROW((void)tree.add<float>(0, std::span<const SlotTree::Leaf>(shifted), 0, 4, out.data()),
               InternalError);
  EXPECT_THROW((void)tree.add<float>(0, std::span<const SlotTree::Leaf>(odd), 0, 4, out.data()),
               InternalError);
  const std::vector<const float*> three(3, x.data());
  EXPECT_THROW(SlotTree::subtree_sum<float>(three, 4, out.data()), InternalError);
}

TEST(SlotTree, RefusesMoreSlotsThanAnnounced) {
  const Floats x(4, 1.0F);
  Floats out(4);
  SlotTree tree(SlotDealing{2, 2}.ends(), 4);
  const std::vector<const float*> pieces{x.data(), x.data(), x.data()};
  EXPECT_THROW((void)tree.add<float>(0, pieces, 0, 4, out.data()), InternalError);
  EXPECT_THROW(SlotTree(std::vector<std::int64_t>{0}, 4), InternalError);
}

}  // namespace
}  // namespace th::zero
