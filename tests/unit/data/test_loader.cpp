#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "small_corpus.hpp"
#include "th/base/error.hpp"
#include "th/data/loader.hpp"

namespace th::data {
namespace {

using test::make_corpus;
using test::section;

TEST(SourceBatches, HaveEachSourceOnceByLengthWhateverTheRankCount) {
  std::vector<std::vector<std::int32_t>> sources;
  for (std::int32_t i = 0; i < 23; ++i) {
    sources.emplace_back(static_cast<std::size_t>(i * 7 % 13), 4 + i);
    sources.back().push_back(kEnd);
  }
  const config::DataSection data = section(4);
  const auto all = make_source_batches(sources, data, 0, 1);
  ASSERT_EQ(all.size(), 6U);
  std::set<std::int64_t> seen;
  std::size_t longest = 0;
  for (const EvalBatch& batch : all) {
    EXPECT_EQ(batch.batch.sentences, std::ssize(batch.sentences));
    EXPECT_EQ(batch.batch.target_tokens, 0);
    std::vector<std::int64_t> ids;
    for (const std::int64_t place : batch.sentences) {
      const auto& source = sources[static_cast<std::size_t>(place)];
      EXPECT_GE(source.size(), longest);
      longest = source.size();
      EXPECT_TRUE(seen.insert(place).second);
      ids.insert(ids.end(), source.begin(), source.end());
    }
    EXPECT_EQ(batch.batch.source, ids);
  }
  EXPECT_EQ(seen.size(), sources.size());
  for (const std::int64_t rank : {0, 1, 2}) {
    std::int64_t number = rank;
    for (const EvalBatch& batch : make_source_batches(sources, data, rank, 3)) {
      EXPECT_EQ(batch.number, number);
      EXPECT_EQ(batch.sentences, all[static_cast<std::size_t>(number)].sentences);
      number += 3;
    }
  }
  EXPECT_TRUE(make_source_batches({}, data, 0, 1).empty());
}

TEST(EvalBatches, SameAtEveryRankCount) {
  const auto corpus = make_corpus(50);
  const auto data = section(8);
  const auto all = make_eval_batches(*corpus, data, 0, 1);
  ASSERT_EQ(std::ssize(all), eval_batch_count(*corpus, data));
  std::set<std::int64_t> seen;
  for (const EvalBatch& batch : all) seen.insert(batch.sentences.begin(), batch.sentences.end());
  EXPECT_EQ(seen.size(), 50U);
  for (std::int64_t ranks = 2; ranks <= 8; ++ranks) {
    std::size_t count = 0;
    for (std::int64_t rank = 0; rank < ranks; ++rank)
      for (const EvalBatch& batch : make_eval_batches(*corpus, data, rank, ranks)) {
        EXPECT_EQ(batch.number % ranks, rank);
        EXPECT_EQ(batch.sentences, all[static_cast<std::size_t>(batch.number)].sentences);
        EXPECT_EQ(batch.batch.source, all[static_cast<std::size_t>(batch.number)].batch.source);
        ++count;
      }
    EXPECT_EQ(count, all.size());
  }
}

TEST(CorpusSource, DealsTheSameSlotsAtEveryRankCount) {
  const auto corpus = make_corpus(101);
  for (const std::int64_t tokens : {0, 50}) {
    const CorpusSource one(corpus, section(4, tokens), {8, 1}, 5, 0);
    for (std::int64_t ranks = 1; ranks <= 8; ++ranks)
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        // Half of them are dealt anew, as a run does where it has chosen.
        const bool blocks = tokens > 0 || ranks % 2 == 0;
        const SlotDealing dealing{8, ranks, blocks};
        CorpusSource mine(corpus, section(4, tokens), {8, ranks, blocks && rank > 0}, 5, rank);
        mine.deal(dealing);
        ASSERT_EQ(mine.steps(1), one.steps(1));
        for (std::int64_t step = 0; step < one.steps(1); ++step) {
          const StepBatches all = one.make(1, step);
          const StepBatches part = mine.make(1, step);
          EXPECT_EQ(part.source_tokens, all.source_tokens);
          EXPECT_EQ(part.target_tokens, all.target_tokens);
          EXPECT_EQ(part.padded_tokens, all.padded_tokens);
          ASSERT_EQ(std::ssize(part.rounds), (8 - rank + ranks - 1) / ranks);
          for (std::int64_t r = 0; r < std::ssize(part.rounds); ++r) {
            const Batch& expected = all.rounds[static_cast<std::size_t>(dealing.slot(rank, r))];
            EXPECT_EQ(part.rounds[static_cast<std::size_t>(r)].source, expected.source);
            EXPECT_EQ(part.rounds[static_cast<std::size_t>(r)].target_out, expected.target_out);
          }
          for (std::int64_t slot = 0; slot < 8; ++slot) {
            const Batch& expected = all.rounds[static_cast<std::size_t>(slot)];
            const Batch made = mine.make_slot(1, step, slot);
            EXPECT_EQ(made.source, expected.source);
            EXPECT_EQ(made.target_in, expected.target_in);
            EXPECT_EQ(made.target_out, expected.target_out);
            EXPECT_EQ(made.target_lengths, expected.target_lengths);
          }
        }
      }
    for (std::int64_t step = 0; step < one.steps(1); ++step) {
      const StepBatches all = one.make(1, step);
      std::int64_t source = 0, target = 0, padded = 0;
      for (const Batch& batch : all.rounds) {
        source += batch.source_tokens;
        target += batch.target_tokens;
        padded += std::ssize(batch.source) + std::ssize(batch.target_in);
      }
      EXPECT_EQ(source, all.source_tokens);
      EXPECT_EQ(target, all.target_tokens);
      EXPECT_EQ(padded, all.padded_tokens);
    }
  }
}

TEST(CorpusSource, KnowsTheLargestShapesOfAnEpochBeforeItMakesABatch) {
  const CorpusSource source(make_corpus(101), section(4, 50), {8, 3}, 5, 1);
  std::vector<BatchShape> seen;
  for (std::int64_t step = 0; step < source.steps(0); ++step) {
    for (const Batch& batch : source.make(0, step).rounds)
      keep_largest(seen, {batch.source_lengths, batch.target_lengths});
  }
  const std::vector<BatchShape> known = source.largest_shapes(0, StepSource::SlotsOf::kThisRank);
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(std::is_permutation(known.begin(), known.end(), seen.begin(), seen.end()));
  const std::vector<BatchShape> all = CorpusSource(make_corpus(101), section(4, 50), {8, 1}, 5, 0)
                                          .largest_shapes(0, StepSource::SlotsOf::kThisRank);
  EXPECT_EQ(source.largest_shapes(0, StepSource::SlotsOf::kAllRanks), all);
}

TEST(CorpusSource, ThrowsForStepOutside) {
  const CorpusSource source(make_corpus(20), section(4), {2, 1}, 5, 0);
  EXPECT_ANY_THROW(static_cast<void>(source.make(0, source.steps(0))));
  EXPECT_THROW(CorpusSource(make_corpus(5), section(4), {2, 1}, 5, 0), DataError);
}

/// Epoch e has 3 + e steps; step `bad` of epoch 0 throws; a step sleeps so that workers overtake
/// each other.
class CountingSource final : public StepSource {
 public:
  explicit CountingSource(std::int64_t bad = -1) : bad_(bad) {}
  StepBatches make(std::int64_t epoch, std::int64_t step) const override {
    ++made;
    if (epoch == 0 && step == bad_) throw DataError("bad step");
    std::this_thread::sleep_for(std::chrono::microseconds((step % 3) * 300));
    StepBatches batches;
    batches.epoch = epoch;
    batches.step_in_epoch = step;
    return batches;
  }
  Batch make_slot(std::int64_t, std::int64_t, std::int64_t) const override { return {}; }
  std::int64_t steps(std::int64_t epoch) const override { return 3 + epoch; }
  [[nodiscard]] std::vector<BatchShape> largest_shapes(std::int64_t, SlotsOf) const override {
    return {};
  }
  void deal(const SlotDealing&) override {}
  mutable std::atomic<std::int64_t> made{0};

 private:
  std::int64_t bad_;
};

TEST(BatchLoader, OrderAtAnyWorkerCountAndStart) {
  for (const std::int64_t workers : {0, 1, 4})
    for (std::int64_t start_epoch = 0; start_epoch < 2; ++start_epoch)
      for (std::int64_t start = 0; start < 3 + start_epoch; ++start) {
        BatchLoader loader(std::make_shared<CountingSource>(), start_epoch, start, workers, 3);
        std::int64_t epoch = start_epoch, step = start;
        for (int i = 0; i < 20; ++i) {
          const StepBatches batches = loader.next();
          ASSERT_EQ(batches.epoch, epoch);
          ASSERT_EQ(batches.step_in_epoch, step);
          if (++step == 3 + epoch) {
            ++epoch;
            step = 0;
          }
        }
      }
}

TEST(BatchLoader, StartAtTheEndOfAnEpochIsTheNextOne) {
  BatchLoader loader(std::make_shared<CountingSource>(), 0, 3, 2);
  const StepBatches batches = loader.next();
  EXPECT_EQ(batches.epoch, 1);
  EXPECT_EQ(batches.step_in_epoch, 0);
}

TEST(BatchLoader, RethrowsInOrder) {
  for (const std::int64_t workers : {0, 1, 3}) {
    BatchLoader loader(std::make_shared<CountingSource>(1), 0, 0, workers);
    EXPECT_EQ(loader.next().step_in_epoch, 0);
    EXPECT_THROW(static_cast<void>(loader.next()), DataError);
    EXPECT_EQ(loader.next().step_in_epoch, 2);
  }
}

TEST(BatchLoader, WaitsForRoomAndShutsDown) {
  const auto source = std::make_shared<CountingSource>();
  {
    BatchLoader loader(source, 0, 0, 3, 4);
    static_cast<void>(loader.next());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_LE(source->made, 5);
  }
  EXPECT_EQ(source.use_count(), 1);
  for (int i = 0; i < 50; ++i) BatchLoader unused(source, 0, 0, 2, 2);
}

TEST(BatchLoader, NotesEachStepThatItMakesReadyByTheNumberOfTheRunsStep) {
  using runtime::FlightRecord;
  for (const std::int64_t workers : {0, 1, 3}) {
    const auto record = std::make_shared<FlightRecord>();
    {
      BatchLoader loader(std::make_shared<CountingSource>(), 0, 2, workers, 2, {record, 41});
      for (int i = 0; i < 10; ++i) static_cast<void>(loader.next());
    }
    std::set<std::int32_t> steps;
    for (const FlightRecord::Event& event : record->events()) {
      EXPECT_EQ(event.what, FlightRecord::What::kRead);
      EXPECT_EQ(event.on, FlightRecord::On::kReading);
      EXPECT_GE(event.end, event.begin);
      EXPECT_TRUE(steps.insert(event.unit).second) << "each step once";
    }
    ASSERT_GE(steps.size(), 10U);
    EXPECT_EQ(*steps.begin(), 41);
    EXPECT_EQ(*steps.rbegin(), 40 + std::ssize(steps)) << "without a gap";
  }
}

TEST(BatchLoader, ResumeGivesTheSameBatches) {
  const auto source =
      std::make_shared<CorpusSource>(make_corpus(60), section(4), SlotDealing{2, 1}, 5, 0);
  BatchLoader whole(source, 0, 0, 2);
  for (std::int64_t i = 0; i < source->steps(0) + 2; ++i) static_cast<void>(whole.next());
  BatchLoader resumed(source, 1, 2, 1);
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(whole.next().rounds[0].source, resumed.next().rounds[0].source);
}

TEST(SyntheticSource, Shapes) {
  auto data = section(3);
  data.vocab_size = 20;
  data.synthetic_length = 5;
  const SyntheticSource one(data, {4, 1}, 1, 10, 0);
  const StepBatches all = one.make(0, 2);
  ASSERT_EQ(all.rounds.size(), 4U);
  EXPECT_EQ(all.source_tokens, 60);
  EXPECT_EQ(all.padded_tokens, 120);
  for (const Batch& batch : all.rounds) {
    EXPECT_EQ(batch.sentences, 3);
    EXPECT_EQ(batch.source_length, 5);
    EXPECT_EQ(batch.target_length, 5);
    EXPECT_EQ(batch.source_lengths, (std::vector<std::int32_t>{5, 5, 5}));
    for (const auto* ids : {&batch.source, &batch.target_in, &batch.target_out}) {
      EXPECT_EQ(ids->size(), 15U);
      EXPECT_TRUE(std::all_of(ids->begin(), ids->end(),
                              [](std::int64_t id) { return id >= 4 && id < 20; }));
    }
  }
  EXPECT_NE(all.rounds[0].source, all.rounds[1].source);
  EXPECT_NE(all.rounds[0].source, one.make(0, 3).rounds[0].source);
  const SyntheticSource last(data, {4, 3}, 1, 10, 2);
  ASSERT_EQ(last.make(0, 2).rounds.size(), 1U);
  EXPECT_EQ(last.make(0, 2).rounds[0].source, all.rounds[2].source);
  EXPECT_EQ(last.make_slot(0, 2, 1).source, all.rounds[1].source);
  EXPECT_EQ(last.make_slot(0, 2, 1).target_out, all.rounds[1].target_out);
  data.vocab_size = 4;
  EXPECT_THROW(SyntheticSource(data, {4, 1}, 1, 10, 0), DeckError);
}

}  // namespace
}  // namespace th::data
