// The rules of scores: what a query sees, and who sees a key.
#include <gtest/gtest.h>

#include "th/runtime/ops/rotation_rule.hpp"
#include "th/runtime/ops/score_rule.hpp"

namespace th::runtime {
namespace {

constexpr ScoreRule::Kind kKinds[] = {ScoreRule::Kind::kFull, ScoreRule::Kind::kCausal};

bool holds(PositionRange range, std::int64_t position) {
  return range.begin <= position && position < range.end;
}

TEST(ScoreRules, AQueryIsAmongTheQueriesOfAKeyWhereItSeesTheKey) {
  for (const ScoreRule::Kind kind : kKinds) {
    const ScoreRule rule{kind};
    for (std::int64_t count = 1; count <= 9; ++count) {
      for (std::int64_t query = 0; query < count; ++query) {
        for (std::int64_t key = 0; key < count; ++key) {
          EXPECT_EQ(holds(rule.keys(query, count), key), holds(rule.queries(key, count), query))
              << query << " " << key << " of " << count;
        }
      }
    }
  }
}

TEST(ScoreRules, WhatALaterQuerySeesBeginsAndEndsNoEarlier) {
  for (const ScoreRule::Kind kind : kKinds) {
    const ScoreRule rule{kind};
    for (const std::int64_t keys : {1, 4, 12}) {
      for (std::int64_t query = 0; query < 12; ++query) {
        const PositionRange now = rule.keys(query, keys), next = rule.keys(query + 1, keys);
        EXPECT_LE(now.begin, next.begin);
        EXPECT_LE(now.end, next.end);
        EXPECT_LE(0, now.begin);
        EXPECT_LE(now.end, keys);
      }
    }
  }
}

TEST(ScoreRules, ACausalQuerySeesItselfAndWhatIsBefore) {
  const ScoreRule rule{ScoreRule::Kind::kCausal};
  EXPECT_EQ(rule.keys(3, 10).begin, 0);
  EXPECT_EQ(rule.keys(3, 10).end, 4);
  EXPECT_EQ(rule.keys(3, 2).end, 2);
  EXPECT_EQ(rule.queries(3, 10).begin, 3);
  EXPECT_EQ(rule.queries(3, 10).end, 10);
}

TEST(RotationRules, TheIdentityRotatesNothing) {
  const RotationRule rule;
  EXPECT_FALSE(rule.rotates());
  float a = 0.25F, b = -3.0F;
  rule.rotate(1, 8, 5, RotationRule::Direction::kForward, a, b);
  EXPECT_EQ(a, 0.25F);
  EXPECT_EQ(b, -3.0F);
}

}  // namespace
}  // namespace th::runtime
