// The rules of scores: what a query sees, and who sees a key; the rules of rotations.
#include <gtest/gtest.h>

#include "th/runtime/ops/rotation_rule.hpp"
#include "th/runtime/ops/score_rule.hpp"

#include <cmath>
#include <vector>

namespace th::runtime {
namespace {

using Kind = ScoreRule::Kind;
constexpr std::int64_t kOne = ScoreRule::kRatioUnit;

constexpr ScoreRule kKinds[] = {{Kind::kFull},
                                {Kind::kCausal},
                                {Kind::kLocal, 1, 1},
                                {Kind::kLocal, 3, 0},
                                {Kind::kLocal, 2, 5},
                                {Kind::kLocal, 100, 100},
                                {Kind::kLocalCross, 2, 2},
                                {Kind::kLocalCross, 1, 1, 1, kOne * 3 / 2},
                                {Kind::kLocalCross, 4, 4, 3, kOne * 5 / 4},
                                {Kind::kLocalCross, 1, 1, 4, kOne / 3},
                                {Kind::kLocalCross, 2, 2, 1, kOne * 7}};

bool holds(PositionRange range, std::int64_t position) {
  return range.begin <= position && position < range.end;
}

TEST(ScoreRules, AQueryIsAmongTheQueriesOfAKeyWhereItSeesTheKey) {
  for (const ScoreRule& rule : kKinds) {
    for (std::int64_t count = 1; count <= 9; ++count) {
      for (std::int64_t query = 0; query < count; ++query) {
        for (std::int64_t key = 0; key < count; ++key) {
          EXPECT_EQ(holds(rule.keys(query, count), key), holds(rule.queries(key, count), query))
              << static_cast<int>(rule.kind) << ": " << query << " " << key << " of " << count;
        }
      }
    }
  }
}

TEST(ScoreRules, WhatALaterQuerySeesBeginsAndEndsNoEarlier) {
  for (const ScoreRule& rule : kKinds) {
    for (const std::int64_t keys : {1, 4, 12}) {
      for (std::int64_t query = 0; query < 30; ++query) {
        const PositionRange now = rule.keys(query, keys), next = rule.keys(query + 1, keys);
        EXPECT_LE(now.begin, next.begin);
        EXPECT_LE(now.end, next.end);
        EXPECT_LE(0, now.begin);
        EXPECT_LE(now.begin, now.end);
        EXPECT_LE(now.end, keys);
      }
    }
  }
}

TEST(ScoreRules, NoQueryFromHereOnSeesAKeyBeforeTheOldest) {
  for (const ScoreRule& rule : kKinds) {
    for (std::int64_t query = 0; query < 30; ++query) {
      const std::int64_t oldest = rule.oldest_key(query);
      EXPECT_EQ(rule.keys(query, oldest + 1).begin, oldest) << "it is the query's own first";
      for (std::int64_t later = query; later < 40; ++later)
        EXPECT_GE(rule.keys(later, oldest + 1).begin, oldest) << query << " " << later;
    }
  }
}

TEST(ScoreRules, WhatAQueryDoesNotSeeOfItsRangeHasNoProbability) {
  for (const ScoreRule& rule : kKinds) {
    bool all = true;
    for (std::int64_t query = 0; query < 40; ++query) {
      const PositionRange range = rule.keys(query, 60);
      bool any = range.begin >= range.end;
      for (std::int64_t key = range.begin; key < range.end; ++key) {
        const bool sees = rule.sees(query, key);
        EXPECT_EQ(std::isinf(rule.bias(0, query, key)), !sees);
        any = any || sees, all = all && sees;
      }
      EXPECT_TRUE(any) << query << " sees none of its range";
    }
    EXPECT_EQ(rule.gaps(), !all);
  }
}

TEST(ScoreRules, ACausalQuerySeesItselfAndWhatIsBefore) {
  const ScoreRule rule{Kind::kCausal};
  EXPECT_EQ(rule.keys(3, 10).begin, 0);
  EXPECT_EQ(rule.keys(3, 10).end, 4);
  EXPECT_EQ(rule.keys(3, 2).end, 2);
  EXPECT_EQ(rule.queries(3, 10).begin, 3);
  EXPECT_EQ(rule.queries(3, 10).end, 10);
}

TEST(ScoreRules, ALocalQuerySeesSoManyPlacesOnEachSide) {
  const ScoreRule rule{Kind::kLocal, 2, 3};
  for (std::int64_t query = 0; query < 20; ++query) {
    for (std::int64_t key = 0; key < 12; ++key)
      EXPECT_EQ(holds(rule.keys(query, 12), key), key >= query - 2 && key <= query + 3);
  }
}

TEST(ScoreRules, LocalCrossAttentionIsCentredAtTheRatioInSourcePositions) {
  for (const double ratio : {0.25, 1.0, 1.25, 6.0}) {
    for (const std::int64_t step : {1, 3, 8}) {
      const ScoreRule rule{Kind::kLocalCross, 7, 7, step,
                           static_cast<std::int64_t>(ratio * static_cast<double>(kOne))};
      for (std::int64_t query = 0; query < 60; ++query) {
        const auto centre =
            static_cast<std::int64_t>(std::floor(static_cast<double>(query) * ratio + 0.5));
        for (std::int64_t key = 0; key < 20; ++key) {
          EXPECT_EQ(holds(rule.keys(query, 20), key), std::abs(key * step - centre) <= 7)
              << ratio << " " << step << ": " << query << " " << key;
        }
      }
    }
  }
}

TEST(ScoreRules, ABiasIsMinusTheSlopeTimesTheDistance) {
  const std::vector<float> slopes{0.5F, 0.25F};
  ScoreRule rule{Kind::kLocal, 4, 4};
  EXPECT_FALSE(rule.biased());
  EXPECT_EQ(rule.bias(1, 3, 9), 0.0F);
  rule.slopes = slopes.data();
  EXPECT_TRUE(rule.biased());
  EXPECT_EQ(rule.bias(0, 3, 9), -3.0F);
  EXPECT_EQ(rule.bias(1, 9, 3), -1.5F);
  EXPECT_EQ(rule.bias(1, 5, 5), 0.0F);
}

TEST(RotationRules, TheIdentityRotatesNothing) {
  const RotationRule rule;
  EXPECT_FALSE(rule.rotates());
  float a = 0.25F, b = -3.0F;
  rule.rotate(1, 8, 5, RotationRule::Direction::kForward, a, b);
  EXPECT_EQ(a, 0.25F);
  EXPECT_EQ(b, -3.0F);
}

TEST(RotationRules, TurnAPairByItsPositionsAngleAndBack) {
  constexpr std::int64_t kPairs = 3, kPositions = 4;
  std::vector<float> angles;
  for (int i = 0; i < kPairs * kPositions; ++i) {
    angles.push_back(static_cast<float>(std::cos(0.3 * i)));
    angles.push_back(static_cast<float>(std::sin(0.3 * i)));
  }
  const RotationRule rule{RotationRule::Kind::kHalves, angles.data()};
  EXPECT_TRUE(rule.rotates());
  float a = 0.25F, b = -3.0F;
  rule.rotate(2, 2 * kPairs, 1, RotationRule::Direction::kForward, a, b);
  const double angle = 0.3 * (kPairs + 2);
  EXPECT_NEAR(a, 0.25 * std::cos(angle) + 3.0 * std::sin(angle), 1e-6);
  EXPECT_NEAR(b, -3.0 * std::cos(angle) + 0.25 * std::sin(angle), 1e-6);
  rule.rotate(2, 2 * kPairs, 1, RotationRule::Direction::kBackward, a, b);
  EXPECT_NEAR(a, 0.25, 1e-6);
  EXPECT_NEAR(b, -3.0, 1e-6);
}

TEST(RotationRules, PairsAreNeighboursOrHalvesApart) {
  const RotationRule neighbours{RotationRule::Kind::kInterleaved},
      halves{RotationRule::Kind::kHalves};
  EXPECT_EQ(neighbours.first(3), 6);
  EXPECT_EQ(neighbours.second(3, 8), 7);
  EXPECT_EQ(halves.first(3), 3);
  EXPECT_EQ(halves.second(3, 8), 7);
}

}  // namespace
}  // namespace th::runtime
