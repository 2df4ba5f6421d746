// Blocks of sentences under local rules: what products compute in place of whole matrices.
#include <gtest/gtest.h>

#include "th/model/memory/packed_rows.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

namespace th::model {
namespace {

using runtime::ScoreRule;
using Offsets = std::vector<std::int64_t>;

constexpr ScoreRule kRules[] = {
    {ScoreRule::Kind::kLocal, 3, 3},
    {ScoreRule::Kind::kLocal, 100, 0},
    {ScoreRule::Kind::kLocal, 256, 256},
    {ScoreRule::Kind::kLocalCross, 40, 40, 1, ScoreRule::kRatioUnit * 5 / 4},
    {ScoreRule::Kind::kLocalCross, 40, 40, 8, ScoreRule::kRatioUnit / 2},
    {ScoreRule::Kind::kLocalCross, 2, 2, 9, ScoreRule::kRatioUnit * 20},
};

Offsets offsets_of(const std::vector<std::int64_t>& lengths) {
  Offsets out{0};
  for (const std::int64_t length : lengths) out.push_back(out.back() + length);
  return out;
}

const Offsets kQueries = offsets_of({1, 0, 700, 33, 300}), kKeys = offsets_of({1, 5, 640, 80, 90});

/// How often each visible pair of packed rows is in a block; asserts that no other is seen.
std::map<std::pair<std::int64_t, std::int64_t>, int> pairs_of(const ScoreRule& rule,
                                                              const AttentionBlocks& blocks) {
  std::map<std::pair<std::int64_t, std::int64_t>, int> out;
  for (std::size_t i = 0; i < blocks.queries.size(); ++i) {
    const op::RowSpan &q = blocks.queries[i], &k = blocks.keys[i];
    for (std::int64_t t = 0; t < q.count; ++t) {
      const runtime::PositionRange seen = rule.keys(q.position + t, k.length);
      for (std::int64_t s = seen.begin; s < seen.end; ++s) {
        if (s >= k.position && s < k.position + k.count) ++out[{q.row + t, k.row + s - k.position}];
      }
    }
  }
  return out;
}

TEST(AttentionBlocks, EveryPairThatTheRuleSeesIsInOneBlock) {
  for (const ScoreRule& rule : kRules) {
    const AttentionBlocks blocks = attention_blocks(rule, kQueries, kKeys);
    auto pairs = pairs_of(rule, blocks);
    for (std::size_t b = 0; b + 1 < kQueries.size(); ++b) {
      const std::int64_t keys = kKeys[b + 1] - kKeys[b];
      for (std::int64_t t = 0; t < kQueries[b + 1] - kQueries[b]; ++t) {
        const runtime::PositionRange seen = rule.keys(t, keys);
        for (std::int64_t s = seen.begin; s < seen.end; ++s) {
          const auto found = pairs.find({kQueries[b] + t, kKeys[b] + s});
          ASSERT_TRUE(found != pairs.end() && found->second == 1) << b << " " << t << " " << s;
          pairs.erase(found);
        }
      }
    }
    EXPECT_TRUE(pairs.empty());
  }
}

TEST(AttentionBlocks, EveryQueryIsInOneBlockWhetherItSeesAnythingOrNot) {
  for (const ScoreRule& rule : kRules) {
    std::vector<int> in(static_cast<std::size_t>(kQueries.back()), 0);
    for (const op::RowSpan& span : attention_blocks(rule, kQueries, kKeys).queries) {
      for (std::int64_t t = 0; t < span.count; ++t) ++in[static_cast<std::size_t>(span.row + t)];
    }
    EXPECT_EQ(std::count(in.begin(), in.end(), 1), std::ssize(in));
  }
}

TEST(AttentionBlocks, NoTwoBlocksOfAGroupHaveAKeyInCommonAndAllFitIntoIt) {
  for (const ScoreRule& rule : kRules) {
    const AttentionBlocks blocks = attention_blocks(rule, kQueries, kKeys);
    std::int64_t next = 0;
    for (const AttentionGroup& group : blocks.groups) {
      EXPECT_EQ(group.first, next);
      next += group.sentences;
      std::vector<int> seen(static_cast<std::size_t>(kKeys.back()), 0);
      for (std::int64_t i = group.first; i < next; ++i) {
        const auto at = static_cast<std::size_t>(i);
        EXPECT_LE(blocks.queries[at].count, group.queries);
        EXPECT_LE(blocks.keys[at].count, group.keys);
        for (std::int64_t s = 0; s < blocks.keys[at].count; ++s)
          EXPECT_EQ(++seen[static_cast<std::size_t>(blocks.keys[at].row + s)], 1);
      }
    }
    EXPECT_EQ(next, std::ssize(blocks.queries));
  }
}

/// The turns of a sentence's blocks and the shapes of their products.
std::vector<std::vector<std::int64_t>> shapes_of(const AttentionBlocks& blocks, std::int64_t begin,
                                                 std::int64_t end) {
  std::vector<std::vector<std::int64_t>> out;
  for (const AttentionGroup& group : blocks.groups) {
    for (std::int64_t i = group.first; i < group.first + group.sentences; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const op::RowSpan &q = blocks.queries[at], &k = blocks.keys[at];
      if (q.row >= begin && q.row < end)
        out.push_back({q.position, q.count, k.position, k.count, group.queries, group.keys});
    }
  }
  return out;
}

TEST(AttentionBlocks, ASentencesBlocksDoNotDependOnItsNeighbours) {
  for (const ScoreRule& rule : kRules) {
    const AttentionBlocks all = attention_blocks(rule, kQueries, kKeys);
    const std::int64_t queries = kQueries[3] - kQueries[2], keys = kKeys[3] - kKeys[2];
    const AttentionBlocks alone = attention_blocks(rule, Offsets{0, queries}, Offsets{0, keys});
    EXPECT_EQ(shapes_of(all, kQueries[2], kQueries[3]), shapes_of(alone, 0, queries));
  }
}

TEST(AttentionBlocks, ScoresAreLinearInTheLength) {
  const auto cells = [](const ScoreRule& rule, std::int64_t length) {
    std::int64_t sum = 0;
    for (const AttentionGroup& g :
         attention_blocks(rule, Offsets{0, length}, Offsets{0, length / rule.step}).groups)
      sum += g.sentences * g.queries * g.keys;
    return static_cast<double>(sum);
  };
  for (const ScoreRule& rule : kRules) {
    EXPECT_NEAR(cells(rule, 131072) / cells(rule, 32768), 4, 0.1);
    EXPECT_LT(cells(rule, 131072),
              131072.0 * static_cast<double>(rule.before + rule.after + 1) * 3 + 131072.0 * 200);
  }
}

TEST(AttentionBlocks, AFullRuleHasNone) {
  EXPECT_TRUE(attention_blocks({}, kQueries, kQueries).groups.empty());
  EXPECT_TRUE(attention_blocks({ScoreRule::Kind::kCausal}, kQueries, kQueries).groups.empty());
}

TEST(PackedRowsOfMemory, AreEveryStepThStateOfEachSentence) {
  data::Batch batch;
  batch.source_lengths = {1, 7, 6};
  batch.target_lengths = {2, 2, 2};
  batch.source_tokens = 14;
  batch.target_tokens = 6;
  const PackedRows rows(batch, PackedRows::Places::kLeftOut, {.memory_step = 3});
  const auto vector = [](auto span) { return std::vector(span.begin(), span.end()); };
  EXPECT_EQ(vector(rows.memory_rows()), (Offsets{0, 1, 4, 7, 8, 11}));
  EXPECT_EQ(vector(rows.memory_offsets()), (Offsets{0, 1, 4, 6}));
  EXPECT_EQ(vector(rows.memory_lengths()), (std::vector<std::int32_t>{1, 3, 2}));
  const PackedRows all(batch, PackedRows::Places::kLeftOut);
  EXPECT_TRUE(all.memory_rows().empty());
  EXPECT_EQ(vector(all.memory_offsets()), vector(all.source_offsets()));
}

}  // namespace
}  // namespace th::model
