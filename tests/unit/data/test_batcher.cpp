#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "small_corpus.hpp"
#include "th/base/error.hpp"
#include "th/data/loader.hpp"

namespace th::data {
namespace {

using test::make_corpus;
using test::section;

void expect_each_once(const EpochPlan& plan, std::int64_t sentences) {
  std::vector<std::int64_t> seen = plan.order;
  std::sort(seen.begin(), seen.end());
  ASSERT_EQ(std::ssize(seen), sentences);
  for (std::int64_t i = 0; i < sentences; ++i) ASSERT_EQ(seen[static_cast<std::size_t>(i)], i);
  EXPECT_EQ((std::ssize(plan.slot_offsets) - 1) % plan.micro_batches, 0);
  EXPECT_EQ(plan.slot_offsets.back(), sentences);
  EXPECT_TRUE(std::is_sorted(plan.slot_offsets.begin(), plan.slot_offsets.end()));
}

TEST(EpochPlan, EverySentenceOnceAtEverySize) {
  for (const std::int64_t n : {16, 17, 31, 100, 257}) {
    const auto lengths = make_corpus(n)->lengths();
    for (const std::int64_t micro : {1, 3, 4})
      for (const std::int64_t tokens : {0, 40})
        for (const std::int64_t window : {0, 1, 5}) {
          const EpochPlan plan = make_epoch_plan(lengths, section(4, tokens, window), micro, 9, 2);
          expect_each_once(plan, n);
          for (std::int64_t step = 0; step < plan.steps(); ++step)
            for (std::int64_t s = 0; s < micro; ++s) {
              std::int64_t held = 0;
              for (const auto i : plan.slot(step, s))
                held += std::max(lengths[static_cast<std::size_t>(i)].source,
                                 lengths[static_cast<std::size_t>(i)].target);
              if (tokens > 0) {
                EXPECT_LE(held, tokens);
              } else {
                EXPECT_LE(std::ssize(plan.slot(step, s)), 4);
                if (step + 1 < plan.steps()) {
                  EXPECT_EQ(std::ssize(plan.slot(step, s)), 4);
                }
              }
            }
        }
  }
}

TEST(EpochPlan, LastStepMayHoldEmptySlots) {
  const auto lengths = make_corpus(34)->lengths();
  const EpochPlan plan = make_epoch_plan(lengths, section(4), 4, 1, 0);
  ASSERT_EQ(plan.steps(), 3);
  std::int64_t empty = 0;
  for (std::int64_t s = 0; s < 4; ++s) empty += plan.slot(2, s).empty() ? 1 : 0;
  EXPECT_EQ(empty, 2);
}

TEST(EpochPlan, SeedAndEpochDecide) {
  const auto lengths = make_corpus(200)->lengths();
  const EpochPlan plan = make_epoch_plan(lengths, section(4), 2, 1, 0);
  EXPECT_EQ(plan.order, make_epoch_plan(lengths, section(4), 2, 1, 0).order);
  EXPECT_NE(plan.order, make_epoch_plan(lengths, section(4), 2, 1, 1).order);
  EXPECT_NE(plan.order, make_epoch_plan(lengths, section(4), 2, 2, 0).order);
}

TEST(EpochPlan, TooSmallOrTooLong) {
  const auto lengths = make_corpus(15)->lengths();
  EXPECT_THROW(static_cast<void>(make_epoch_plan(lengths, section(4), 4, 1, 0)), DataError);
  EXPECT_THROW(static_cast<void>(make_epoch_plan(lengths, section(4, 13), 2, 1, 0)), DataError);
  EXPECT_NO_THROW(static_cast<void>(make_epoch_plan(lengths, section(4, 14), 2, 1, 0)));
}

/// Real tokens of the slots of a full step, the fewest and the most.
std::pair<std::int64_t, std::int64_t> slot_tokens(const StepBatches& step) {
  std::int64_t fewest = 1 << 30, most = 0;
  for (const Batch& batch : step.rounds) {
    fewest = std::min(fewest, batch.source_tokens + batch.target_tokens);
    most = std::max(most, batch.source_tokens + batch.target_tokens);
  }
  return {fewest, most};
}

TEST(EpochPlan, SlotsOfAStepHoldNearlyEqualWork) {
  const auto corpus = make_corpus(2000);
  for (const std::int64_t tokens : {0, 400}) {
    for (const std::int64_t window : {0, 1, 5}) {
      const CorpusSource source(corpus, section(16, tokens, window), {4, 1}, 3, 0);
      for (std::int64_t step = 0; step + 1 < source.steps(0); ++step) {
        const auto [fewest, most] = slot_tokens(source.make(0, step));
        EXPECT_LE(most - fewest, tokens > 0 ? 40 : 30)
            << "tokens " << tokens << " window " << window << " step "
            << step;  // the longest pair has 26
      }
    }
  }
}

TEST(EpochPlan, ATokenBudgetIsFilled) {
  const CorpusSource source(make_corpus(2000), section(16, 400, 1), {4, 1}, 3, 0);
  const auto lengths = make_corpus(2000)->lengths();
  const EpochPlan plan = make_epoch_plan(lengths, section(16, 400, 1), 4, 3, 0);
  for (std::int64_t step = 0; step + 1 < plan.steps(); ++step) {
    std::int64_t held = 0;
    for (std::int64_t s = 0; s < 4; ++s)
      for (const auto i : plan.slot(step, s))
        held += std::max(lengths[static_cast<std::size_t>(i)].source,
                         lengths[static_cast<std::size_t>(i)].target);
    EXPECT_GE(held, 4 * 400 - 3 * 14 - 14)
        << "room is left for one sentence of 14 ids and for what dealing may be off";
  }
}

TEST(EpochPlan, StepsAreRandomSamplesUnlessWindowsAreSorted) {
  const auto lengths = make_corpus(2000)->lengths();
  const auto spread = [&](std::int64_t window) {  // of the steps' mean source lengths
    const EpochPlan plan = make_epoch_plan(lengths, section(16, 0, window), 4, 3, 0);
    double low = 1e9, high = 0;
    for (std::int64_t step = 0; step + 1 < plan.steps(); ++step) {
      double sum = 0, count = 0;
      for (std::int64_t s = 0; s < 4; ++s)
        for (const auto i : plan.slot(step, s)) {
          sum += lengths[static_cast<std::size_t>(i)].source;
          ++count;
        }
      low = std::min(low, sum / count);
      high = std::max(high, sum / count);
    }
    return high - low;
  };
  EXPECT_EQ(spread(0), spread(1));
  EXPECT_LT(spread(1), 3);
  EXPECT_GT(spread(10), 6);
}

TEST(EpochPlan, SentencesOfASlotAreSortedByLength) {
  const auto lengths = make_corpus(500)->lengths();
  const EpochPlan plan = make_epoch_plan(lengths, section(16, 0, 0), 4, 3, 0);
  for (std::int64_t step = 0; step < plan.steps(); ++step)
    for (std::int64_t s = 0; s < 4; ++s) {
      std::int64_t before = 0;
      for (const auto i : plan.slot(step, s)) {
        const std::int64_t now = lengths[static_cast<std::size_t>(i)].source +
                                 lengths[static_cast<std::size_t>(i)].target;
        EXPECT_LE(before, now);
        before = now;
      }
    }
}

TEST(MakeBatch, PacksSentencesWithoutPadding) {
  const auto corpus = make_corpus(3);  // words: 1/1, 8/6, 2/11
  const std::vector<std::int64_t> sentences = {2, 0};
  const Batch batch = make_batch(*corpus, sentences);
  EXPECT_EQ(batch.sentences, 2);
  EXPECT_EQ(batch.source_length, 3);
  EXPECT_EQ(batch.target_length, 12);
  EXPECT_EQ(batch.source, (std::vector<std::int64_t>{6, 6, kEnd, 4, kEnd}));
  EXPECT_EQ(batch.source_lengths, (std::vector<std::int32_t>{3, 2}));
  EXPECT_EQ(batch.target_lengths, (std::vector<std::int32_t>{12, 2}));
  EXPECT_EQ(batch.source_tokens, 5);
  EXPECT_EQ(batch.target_tokens, 14);
  const std::vector<std::int64_t> in(batch.target_in.begin() + 12, batch.target_in.end()),
      out(batch.target_out.begin() + 12, batch.target_out.end());
  EXPECT_EQ(in, (std::vector<std::int64_t>{kBegin, 4}));
  EXPECT_EQ(out, (std::vector<std::int64_t>{4, kEnd}));
  EXPECT_EQ(batch.target_in[0], kBegin);
  EXPECT_EQ(batch.target_out[11], kEnd);
  const Batch empty = make_batch(*corpus, {});
  EXPECT_EQ(empty.sentences, 0);
  EXPECT_TRUE(empty.source.empty() && empty.target_in.empty() && empty.target_out.empty());
}

TEST(Batch, ASourceWithoutATargetHasNoTargetRows) {
  Batch batch;
  batch.append(std::vector<std::int32_t>{5, kEnd}, {});
  EXPECT_EQ(batch.target_lengths, (std::vector<std::int32_t>{0}));
  EXPECT_TRUE(batch.target_in.empty() && batch.target_out.empty());
}

TEST(SentenceGroups, CutsBySixteenAndPadsToEights) {
  std::vector<std::int32_t> source, target;
  for (std::int32_t b = 0; b < 35; ++b) {
    source.push_back(b + 1);
    target.push_back(2 * b + 1);
  }
  const std::vector<SentenceGroup> want{{0, 16, 16, 32}, {16, 16, 32, 64}, {32, 3, 35, 69}};
  EXPECT_EQ(sentence_groups(source, target), want);
  EXPECT_TRUE(sentence_groups({}, {}).empty());
}

TEST(SentenceGroups, SentencesOfOneLengthAreOneGroup) {
  const std::vector<std::int32_t> source(100, 7), target(100, 9);
  EXPECT_EQ(sentence_groups(source, target), (std::vector<SentenceGroup>{{0, 100, 7, 9}}));
}

TEST(BatchShape, CountsRowsAndPaddedScores) {
  const BatchShape shape({1, 3}, {2, 2});
  EXPECT_EQ(shape.source_tokens(), 4);
  EXPECT_EQ(shape.target_tokens(), 4);
  EXPECT_EQ(shape.score_cells(), 2 * (3 * 3 + 2 * 2 + 3 * 2));
  EXPECT_EQ(shape.real_score_cells(), 1 + 9 + 4 + 4 + 2 + 6);
}

TEST(BatchShape, KeepLargestKeepsWhatNoOtherCovers) {
  std::vector<BatchShape> shapes;
  keep_largest(shapes, BatchShape::uniform(4, 5, 5));
  keep_largest(shapes, BatchShape::uniform(3, 5, 5));
  keep_largest(shapes, BatchShape::uniform(1, 20, 1));  // fewer rows, more scores
  keep_largest(shapes, {});
  EXPECT_EQ(shapes.size(), 2U);
  keep_largest(shapes, BatchShape::uniform(8, 20, 20));
  EXPECT_EQ(shapes, std::vector<BatchShape>{BatchShape::uniform(8, 20, 20)});
}

}  // namespace
}  // namespace th::data
