#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "th/base/error.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::zero {
namespace {

constexpr std::int64_t kRankCounts[] = {1, 2, 3, 4, 5, 7, 8, 16};

/// Shapes around every border: below and above one alignment step, one block, and several blocks; a
/// unit of one element.
std::vector<model::UnitSpec> awkward_units() {
  return {{"embedding", {{"embedding.weight", {37, 24}}}},
          {"layer", {{"w", {16, 16}}, {"b", {1}}, {"c", {15}}, {"d", {17}}, {"e", {5, 7, 3}}}},
          {"one", {{"x", {1}}}},
          {"block", {{"y", {256}}}},
          {"above", {{"z", {257}}}},
          {"large", {{"u", {100, 100}}, {"v", {3}}}}};
}

TEST(TensorSpec, CountIsTheProductOfTheShape) {
  EXPECT_EQ((model::TensorSpec{"a", {3, 5, 7}}.count()), 105);
  EXPECT_EQ((model::TensorSpec{"b", {9}}.count()), 9);
  EXPECT_EQ((model::TensorSpec{"scalar", {}}.count()), 1);
}

TEST(FlatLayout, StartsEveryTensorAtAMultipleOfSixteenElements) {
  for (const std::int64_t ranks : kRankCounts) {
    const FlatLayout layout(awkward_units(), ranks);
    for (const auto& tensor : layout.tensors())
      EXPECT_EQ(tensor.offset % FlatLayout::kAlign, 0) << tensor.spec.name;
    for (const auto& unit : layout.units())
      EXPECT_EQ(unit.offset % FlatLayout::kBlock, 0) << unit.name;
  }
}

TEST(FlatLayout, TensorsOfAUnitFollowOneAnotherWithoutOverlapAndWithoutSpareSteps) {
  const FlatLayout layout(awkward_units(), 3);
  for (std::size_t t = 1; t < layout.tensors().size(); ++t) {
    const auto& before = layout.tensors()[t - 1];
    const auto& tensor = layout.tensors()[t];
    if (tensor.unit != before.unit) {
      EXPECT_EQ(tensor.offset, 0);
      continue;
    }
    EXPECT_GE(tensor.offset, before.offset + before.count);
    EXPECT_LT(tensor.offset - before.offset - before.count, FlatLayout::kAlign);
  }
}

TEST(FlatLayout, KnowsTheNumbersOfASmallCase) {
  const FlatLayout layout({{"a", {{"w", {10, 30}}, {"b", {10}}}}, {"c", {{"v", {5}}}}}, 3);
  // w takes 300, b starts at 320 (64 bytes in 16 bits) and ends at 330; content 512, padded to 768
  // = 3 * 256. v: content 256, padded 768.
  EXPECT_EQ(layout.tensors()[1].offset, 320);
  EXPECT_EQ(layout.units()[0].content, 512);
  EXPECT_EQ(layout.units()[0].padded, 768);
  EXPECT_EQ(layout.units()[0].shard, 256);
  EXPECT_EQ(layout.units()[1].offset, 768);
  EXPECT_EQ(layout.units()[1].shard_offset, 256);
  EXPECT_EQ(layout.units()[1].first_block, 2);
  EXPECT_EQ(layout.padded_total(), 1536);
  EXPECT_EQ(layout.shard_total(), 512);
  EXPECT_EQ(layout.block_total(), 3);
  EXPECT_EQ(layout.parameter_count(), 315);
  EXPECT_EQ(layout.largest_unit(), 768);
}

TEST(FlatLayout, EveryShardIsAnEqualWholeNumberOfBlocks) {
  for (const std::int64_t ranks : kRankCounts) {
    const FlatLayout layout(awkward_units(), ranks);
    std::int64_t shards = 0;
    std::int64_t padded = 0;
    for (const auto& unit : layout.units()) {
      EXPECT_EQ(unit.shard % FlatLayout::kBlock, 0) << unit.name;
      EXPECT_EQ(unit.shard * ranks, unit.padded) << unit.name;
      EXPECT_GE(unit.padded, unit.content) << unit.name;
      EXPECT_LT(unit.padded - unit.content, FlatLayout::kBlock * ranks)
          << unit.name << " is padded more than it needs";
      EXPECT_EQ(unit.shard_offset, shards) << unit.name;
      EXPECT_EQ(unit.offset, padded) << unit.name;
      shards += unit.shard;
      padded += unit.padded;
    }
    EXPECT_EQ(layout.shard_total(), shards);
    EXPECT_EQ(layout.padded_total(), padded);
  }
}

TEST(FlatLayout, ContentAndOrderDoNotDependOnTheRankCount) {
  const FlatLayout one(awkward_units(), 1);
  for (const std::int64_t ranks : kRankCounts) {
    const FlatLayout layout(awkward_units(), ranks);
    ASSERT_EQ(layout.units().size(), one.units().size());
    ASSERT_EQ(layout.tensors().size(), one.tensors().size());
    EXPECT_EQ(layout.block_total(), one.block_total());
    EXPECT_EQ(layout.parameter_count(), one.parameter_count());
    for (std::size_t u = 0; u < one.units().size(); ++u) {
      EXPECT_EQ(layout.units()[u].name, one.units()[u].name);
      EXPECT_EQ(layout.units()[u].content, one.units()[u].content);
      EXPECT_EQ(layout.units()[u].first_block, one.units()[u].first_block);
      EXPECT_EQ(layout.units()[u].first_tensor, one.units()[u].first_tensor);
      EXPECT_EQ(layout.units()[u].tensor_count, one.units()[u].tensor_count);
    }
    for (std::size_t t = 0; t < one.tensors().size(); ++t) {
      EXPECT_EQ(layout.tensors()[t].spec.name, one.tensors()[t].spec.name);
      EXPECT_EQ(layout.tensors()[t].offset, one.tensors()[t].offset);
      EXPECT_EQ(layout.tensors()[t].unit, one.tensors()[t].unit);
    }
  }
}

TEST(FlatLayout, PiecesCoverEveryElementOnce) {
  for (const std::int64_t ranks : kRankCounts) {
    const FlatLayout layout(awkward_units(), ranks);
    std::vector<std::vector<int>> seen;
    for (const auto& tensor : layout.tensors())
      seen.emplace_back(static_cast<std::size_t>(tensor.count), 0);
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      for (const auto& piece : layout.pieces(rank)) {
        ASSERT_GT(piece.count, 0);
        ASSERT_GE(piece.tensor_begin, 0);
        auto& tensor = seen[static_cast<std::size_t>(piece.tensor)];
        ASSERT_LE(piece.tensor_begin + piece.count, std::ssize(tensor));
        for (std::int64_t i = 0; i < piece.count; ++i)
          ++tensor[static_cast<std::size_t>(piece.tensor_begin + i)];
      }
    }
    for (std::size_t t = 0; t < seen.size(); ++t) {
      EXPECT_TRUE(std::all_of(seen[t].begin(), seen[t].end(), [](int n) { return n == 1; }))
          << layout.tensors()[t].spec.name << " at " << ranks << " ranks";
    }
  }
}

TEST(FlatLayout, PiecesLieWhereTheUnitsSliceOfTheRankLies) {
  for (const std::int64_t ranks : kRankCounts) {
    const FlatLayout layout(awkward_units(), ranks);
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      for (const auto& piece : layout.pieces(rank)) {
        const auto& tensor = layout.tensors()[static_cast<std::size_t>(piece.tensor)];
        const auto& unit = layout.units()[static_cast<std::size_t>(tensor.unit)];
        // The element's place in the unit, counted through the tensor and through the shard, is the
        // same.
        EXPECT_EQ(tensor.offset + piece.tensor_begin,
                  rank * unit.shard + piece.shard_offset - unit.shard_offset);
        EXPECT_GE(piece.shard_offset, unit.shard_offset);
        EXPECT_LE(piece.shard_offset + piece.count, unit.shard_offset + unit.shard);
      }
    }
  }
}

TEST(FlatLayout, PaddingIsInNoPiece) {
  for (const std::int64_t ranks : kRankCounts) {
    const FlatLayout layout(awkward_units(), ranks);
    std::int64_t in_pieces = 0;
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      std::int64_t end = 0;  // pieces are in shard order and do not overlap
      for (const auto& piece : layout.pieces(rank)) {
        EXPECT_GE(piece.shard_offset, end);
        end = piece.shard_offset + piece.count;
        in_pieces += piece.count;
      }
      EXPECT_LE(end, layout.shard_total());
    }
    EXPECT_EQ(in_pieces, layout.parameter_count());
    EXPECT_GT(layout.padded_total(), in_pieces);
  }
}

TEST(FlatLayout, ARankBeyondTheContentOwnsPaddingAlone) {
  const FlatLayout layout({{"small", {{"x", {10}}}}}, 4);
  EXPECT_EQ(layout.pieces(0).size(), 1U);
  for (std::int64_t rank = 1; rank < 4; ++rank) EXPECT_TRUE(layout.pieces(rank).empty());
}

TEST(FlatLayout, RefusesZeroRanks) { EXPECT_THROW(FlatLayout(awkward_units(), 0), InternalError); }

TEST(FlatLayout, CountsBeyondThirtyTwoBits) {
  const FlatLayout layout({{"huge", {{"x", {70000, 70000}}}}, {"after", {{"y", {3}}}}}, 8);
  EXPECT_EQ(layout.tensors()[0].count, 4'900'000'000);
  EXPECT_GT(layout.units()[1].offset, 4'900'000'000 - 1);
  const auto pieces = layout.pieces(7);
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_EQ(pieces[0].tensor_begin, 7 * layout.units()[0].shard);
}

}  // namespace
}  // namespace th::zero
