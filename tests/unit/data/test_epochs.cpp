#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "data/epoch_order.hpp"
#include "small_corpus.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/data/loader.hpp"

namespace th::data {
namespace {

using test::corpus_of;
using test::make_corpus;
using test::section;

TEST(Permutation, HasEveryPlaceOnceAndFollowsItsKey) {
  for (const std::int64_t size : {1, 2, 3, 4, 5, 63, 64, 65, 1000, 4097}) {
    std::set<std::int64_t> seen;
    const Permutation places(size, 7);
    for (std::int64_t i = 0; i < size; ++i) seen.insert(places(i));
    EXPECT_EQ(std::ssize(seen), size);
    EXPECT_EQ(*seen.begin(), 0);
    EXPECT_EQ(*seen.rbegin(), size - 1);
  }
  std::int64_t same = 0, fixed = 0;
  for (std::int64_t i = 0; i < 4097; ++i) {
    same += Permutation(4097, 1)(i) == Permutation(4097, 2)(i) ? 1 : 0;
    fixed += Permutation(4097, 1)(i) == i ? 1 : 0;
  }
  EXPECT_LT(same, 10) << "one is expected of unrelated permutations";
  EXPECT_LT(fixed, 10);
}

TEST(Permutation, NeighboursComeFarFromEachOther) {
  // The mean distance of two places drawn at random is a third of the size.
  const std::int64_t size = 100000;
  const Permutation places(size, 3);
  double sum = 0;
  for (std::int64_t i = 0; i + 1 < size; ++i)
    sum += static_cast<double>(std::abs(places(i + 1) - places(i)));
  EXPECT_NEAR(sum / static_cast<double>(size) / static_cast<double>(size), 1.0 / 3, 0.01);
}

std::map<std::int64_t, int> counts_of(const EpochPairs& pairs, std::int64_t epochs) {
  std::map<std::int64_t, int> counts;
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch)
    for (std::int64_t place = 0; place < pairs.size(); ++place) ++counts[pairs.pair(epoch, place)];
  return counts;
}

TEST(EpochPairs, WithoutKeysEveryPairStandsAtItsPlace) {
  for (const auto& files : {std::vector<std::int64_t>{10}, std::vector<std::int64_t>{3, 7}}) {
    const EpochPairs pairs(files, section(1), 1);
    EXPECT_FALSE(pairs.mixed());
    for (std::int64_t i = 0; i < 10; ++i) EXPECT_EQ(pairs.pair(5, i), i);
  }
}

TEST(EpochPairs, WeightsAreSharesOfAnEpoch) {
  auto data = section(1);
  data.train_weights = {1, 3, 2};
  const EpochPairs pairs({90, 10, 0}, data, 1);
  ASSERT_EQ(pairs.size(), 100);
  EXPECT_EQ(pairs.shares(), (std::vector<std::int64_t>{25, 75, 0}));
  // 75 places of 10 pairs: in each shuffle all of them, so seven or eight times each.
  const auto counts = counts_of(pairs, 1);
  std::int64_t first = 0;
  for (const auto& [pair, count] : counts) {
    if (pair < 90) {
      EXPECT_EQ(count, 1);
      ++first;
    } else {
      EXPECT_GE(count, 7);
      EXPECT_LE(count, 8);
    }
  }
  EXPECT_EQ(first, 25);
}

TEST(EpochPairs, AFileIsUsedUpBeforeItBeginsAgain) {
  auto data = section(1);
  data.train_weights = {1, 1};
  const EpochPairs pairs({80, 20}, data, 1);
  EXPECT_EQ(pairs.shares(), (std::vector<std::int64_t>{50, 50}));
  // Eight epochs take 400 of each: five times all of 80, twenty times all of 20.
  for (const auto& [pair, count] : counts_of(pairs, 8))
    EXPECT_EQ(count, pair < 80 ? 5 : 20) << pair;
}

TEST(EpochPairs, TemperatureRaisesSmallFiles) {
  auto data = section(1);
  data.train_temperature = 2;
  EXPECT_EQ(EpochPairs({900, 100}, data, 1).shares(), (std::vector<std::int64_t>{750, 250}));
  data.train_temperature = 1000;
  const auto shares = EpochPairs({999, 1}, data, 1).shares();
  EXPECT_NEAR(static_cast<double>(shares[0]), 500, 3);
  EXPECT_EQ(shares[0] + shares[1], 1000);
}

TEST(EpochPairs, SharesAddUpWhateverTheyAre) {
  for (std::uint64_t k = 0; k < 200; ++k) {
    std::vector<std::int64_t> files;
    auto data = section(1);
    for (std::uint64_t f = 0; f < 2 + k % 5; ++f) {
      files.push_back(static_cast<std::int64_t>(hash_pair(k, f) % 1000));
      data.train_weights.push_back(1e-3 + static_cast<double>(hash_pair(k, f + 99) % 1000));
    }
    files[0] += 1;
    const EpochPairs pairs(files, data, k);
    const auto shares = pairs.shares();
    EXPECT_EQ(std::accumulate(shares.begin(), shares.end(), std::int64_t{0}), pairs.size());
    for (std::int64_t place = 0; place < pairs.size(); ++place) {
      const std::int64_t pair = pairs.pair(3, place);
      EXPECT_TRUE(pair >= 0 && pair < pairs.size());
    }
  }
}

std::vector<std::int64_t> ids_of(const CorpusSource& source, std::int64_t epoch) {
  std::vector<std::int64_t> ids;
  for (std::int64_t step = 0; step < source.steps(epoch); ++step)
    for (const Batch& batch : source.make(epoch, step).rounds)
      for (const std::int64_t id : batch.target_in)
        if (id > kEnd) ids.push_back(id);
  return ids;
}

TEST(CorpusSource, PlansAsMakeEpochPlanDoes) {
  const auto corpus = make_corpus(333);
  for (const std::int64_t tokens : {0, 60})
    for (const std::int64_t window : {1, 5}) {
      const auto data = section(4, tokens, window);
      const CorpusSource source(corpus, data, {3, 1}, 9, 0);
      for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
        const EpochPlan plan = make_epoch_plan(corpus->lengths(), data, 3, 9, epoch);
        ASSERT_EQ(source.steps(epoch), plan.steps());
        for (std::int64_t step = 0; step < plan.steps(); ++step) {
          const StepBatches batches = source.make(epoch, step);
          for (std::int64_t slot = 0; slot < 3; ++slot)
            EXPECT_EQ(batches.rounds[static_cast<std::size_t>(slot)].source,
                      make_batch(*corpus, plan.slot(step, slot)).source);
        }
      }
    }
}

TEST(CorpusSource, MixesFilesTheSameWayAtEveryRankCount) {
  const auto corpus = make_corpus(120, {100, 20});
  auto data = section(4);
  data.train_weights = {1, 1};
  const CorpusSource one(corpus, data, {4, 1}, 5, 0);
  EXPECT_EQ(one.shares(), (std::vector<std::int64_t>{60, 60}));
  for (std::int64_t ranks = 2; ranks <= 4; ++ranks)
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const CorpusSource mine(corpus, data, {4, ranks}, 5, rank);
      for (std::int64_t step = 0; step < one.steps(2); ++step)
        EXPECT_EQ(mine.make(2, step).rounds[0].source,
                  one.make(2, step).rounds[static_cast<std::size_t>(rank)].source);
    }
}

/// Above kPlannedWhole: sentence i has one word each way, 4 + i, and every tenth source nine.
class LargeCorpus : public ::testing::Test {
 protected:
  static constexpr std::int64_t kPairs = kPlannedWhole + 12345;
  static void SetUpTestSuite() {
    corpus_ = corpus_of(kPairs, [](std::int64_t i) {
      const auto word = static_cast<std::int32_t>(4 + i);
      test::IdPair ids{std::vector<std::int32_t>(i % 10 == 0 ? 9U : 1U, word), {2, word, 3}};
      ids.source.push_back(3);
      return ids;
    });
  }
  static void TearDownTestSuite() { corpus_.reset(); }
  static inline std::shared_ptr<const ParallelCorpus> corpus_;
};

TEST_F(LargeCorpus, HasEverySentenceOnceInAnEpoch) {
  const CorpusSource source(corpus_, section(512, 0, 1), {4, 1}, 1, 0);
  EXPECT_EQ(source.steps(0), (kPairs + 2047) / 2048);
  std::vector<std::int64_t> ids = ids_of(source, 0);
  ASSERT_EQ(std::ssize(ids), kPairs);
  std::sort(ids.begin(), ids.end());
  for (std::int64_t i = 0; i < kPairs; ++i) ASSERT_EQ(ids[static_cast<std::size_t>(i)], 4 + i);
}

TEST_F(LargeCorpus, ATokenBudgetHoldsAndStepsAreFoundAnywhere) {
  for (const std::int64_t window : {1, 4}) {
    const CorpusSource source(corpus_, section(1, 4000, window), {3, 1}, 1, 0);
    const std::int64_t steps = source.steps(0);
    std::int64_t sentences = 0, full = 0;
    for (std::int64_t step = 0; step < steps; ++step) {
      std::int64_t held = 0;
      for (const Batch& batch : source.make(0, step).rounds) {
        std::int64_t tokens = 0;
        for (std::size_t b = 0; b < batch.source_lengths.size(); ++b)
          tokens += std::max(batch.source_lengths[b], batch.target_lengths[b]);
        EXPECT_LE(tokens, 4000);
        held += tokens;
        sentences += batch.sentences;
      }
      full += held > 3 * 4000 - 40 ? 1 : 0;
    }
    EXPECT_EQ(sentences, kPairs);
    EXPECT_GE(full, steps - 2 * (kPairs >> 17) - 2) << "one step of each piece is not full";
    const CorpusSource other(corpus_, section(1, 4000, window), {3, 3}, 1, 1);
    for (const std::int64_t step : {steps - 1, std::int64_t{0}, steps / 2})
      EXPECT_EQ(other.make(0, step).rounds[0].source, source.make(0, step).rounds[1].source);
    EXPECT_FALSE(source.counts_quickly());
    EXPECT_FALSE(source.largest_shapes(0, StepSource::SlotsOf::kThisRank).empty());
  }
}

TEST_F(LargeCorpus, EpochsDiffer) {
  const CorpusSource source(corpus_, section(64, 0, 1), {2, 1}, 1, 0);
  EXPECT_NE(source.make(0, 3).rounds[0].source, source.make(1, 3).rounds[0].source);
  EXPECT_EQ(source.make(0, 3).rounds[0].source,
            CorpusSource(corpus_, section(64, 0, 1), {2, 1}, 1, 0).make(0, 3).rounds[0].source);
}

}  // namespace
}  // namespace th::data
