#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <thread>

#include "th/base/error.hpp"
#include "th/data/loader.hpp"

namespace th::data {
namespace {

/// Sentence i has 1 + (i * 7 mod 13) source words and 1 + (i * 5 mod 11) target words.
std::shared_ptr<const ParallelCorpus> make_corpus(std::size_t sentences) {
  std::vector<std::string> tokens = {"<pad>", "<unk>", "<s>", "</s>"};
  std::vector<std::string> source(sentences), target(sentences);
  for (std::size_t i = 0; i < sentences; ++i) {
    tokens.push_back("w" + std::to_string(i));
    for (std::size_t k = 0; k < 1 + i * 7 % 13; ++k) source[i] += tokens.back() + " ";
    for (std::size_t k = 0; k < 1 + i * 5 % 11; ++k) target[i] += tokens.back() + " ";
  }
  const WordTokenizer tokenizer(tokens);
  const auto path = std::filesystem::path(::testing::TempDir()) / ("th_loader_" + std::to_string(::getpid()) + ".idx");
  ParallelCorpus::write_index(path, source, target, tokenizer, tokenizer, 100, 42);
  auto corpus = std::make_shared<const ParallelCorpus>(path);
  std::filesystem::remove(path);
  return corpus;
}

config::DataSection section(std::int64_t batch_size, std::int64_t batch_tokens = 0, std::int64_t window = 16) {
  config::DataSection data;
  data.batch_size = batch_size;
  data.batch_tokens = batch_tokens;
  data.sort_window = window;
  return data;
}

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
  for (const std::size_t n : {16U, 17U, 31U, 100U, 257U}) {
    const auto lengths = make_corpus(n)->lengths();
    for (const std::int64_t micro : {1, 3, 4})
      for (const std::int64_t tokens : {0, 40})
        for (const std::int64_t window : {0, 1, 5}) {
          const EpochPlan plan = make_epoch_plan(lengths, section(4, tokens, window), micro, 9, 2);
          expect_each_once(plan, static_cast<std::int64_t>(n));
          for (std::int64_t step = 0; step < plan.steps(); ++step)
            for (std::int64_t s = 0; s < micro; ++s) {
              std::int64_t longest = 0;
              for (const auto i : plan.slot(step, s))
                longest = std::max<std::int64_t>({longest, lengths[static_cast<std::size_t>(i)].source, lengths[static_cast<std::size_t>(i)].target});
              if (tokens > 0) {
                EXPECT_LE(longest * std::ssize(plan.slot(step, s)), tokens);
              } else {
                EXPECT_LE(std::ssize(plan.slot(step, s)), 4);
                if (step + 1 < plan.steps()) { EXPECT_EQ(std::ssize(plan.slot(step, s)), 4); }
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

double padding_share(const std::shared_ptr<const ParallelCorpus>& corpus, const config::DataSection& data) {
  const CorpusSource source(corpus, data, 4, 3, 0, 1);
  std::int64_t real = 0, padded = 0;
  for (std::int64_t step = 0; step < source.steps(0); ++step) {
    const StepBatches batches = source.make(0, step);
    real += batches.source_tokens + batches.target_tokens;
    padded += batches.padded_tokens;
  }
  return 1.0 - static_cast<double>(real) / static_cast<double>(padded);
}

TEST(EpochPlan, SortingKeepsPaddingSmall) {
  const auto corpus = make_corpus(2000);
  const double sorted = padding_share(corpus, section(8));
  const double unsorted = padding_share(corpus, section(8, 0, 0));
  EXPECT_LT(sorted, 0.25);
  EXPECT_LT(sorted, 0.6 * unsorted);
}

TEST(MakeBatch, Pads) {
  const auto corpus = make_corpus(3);  // words: 1/1, 8/6, 2/11
  const std::vector<std::int64_t> sentences = {2, 0};
  const Batch batch = make_batch(*corpus, sentences);
  EXPECT_EQ(batch.sentences, 2);
  EXPECT_EQ(batch.source_length, 3);
  EXPECT_EQ(batch.target_length, 12);
  EXPECT_EQ(batch.source, (std::vector<std::int64_t>{6, 6, kEnd, 4, kEnd, kPad}));
  EXPECT_EQ(batch.source_lengths, (std::vector<std::int32_t>{3, 2}));
  EXPECT_EQ(batch.target_lengths, (std::vector<std::int32_t>{12, 2}));
  EXPECT_EQ(batch.source_tokens, 5);
  EXPECT_EQ(batch.target_tokens, 14);
  const std::vector<std::int64_t> in(batch.target_in.begin() + 12, batch.target_in.end()), out(batch.target_out.begin() + 12, batch.target_out.end());
  EXPECT_EQ(in, (std::vector<std::int64_t>{kBegin, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(out, (std::vector<std::int64_t>{4, kEnd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(batch.target_in[0], kBegin);
  EXPECT_EQ(batch.target_out[11], kEnd);
  const Batch empty = make_batch(*corpus, {});
  EXPECT_EQ(empty.sentences, 0);
  EXPECT_TRUE(empty.source.empty() && empty.target_in.empty() && empty.target_out.empty());
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
    const CorpusSource one(corpus, section(4, tokens), 8, 5, 0, 1);
    for (std::int64_t ranks = 1; ranks <= 8; ++ranks)
      for (std::int64_t rank = 0; rank < ranks; ++rank) {
        const CorpusSource mine(corpus, section(4, tokens), 8, 5, rank, ranks);
        ASSERT_EQ(mine.steps(1), one.steps(1));
        for (std::int64_t step = 0; step < one.steps(1); ++step) {
          const StepBatches all = one.make(1, step);
          const StepBatches part = mine.make(1, step);
          EXPECT_EQ(part.source_tokens, all.source_tokens);
          EXPECT_EQ(part.target_tokens, all.target_tokens);
          EXPECT_EQ(part.padded_tokens, all.padded_tokens);
          ASSERT_EQ(std::ssize(part.rounds), (8 - rank + ranks - 1) / ranks);
          for (std::int64_t r = 0; r < std::ssize(part.rounds); ++r) {
            EXPECT_EQ(part.rounds[static_cast<std::size_t>(r)].source, all.rounds[static_cast<std::size_t>(r * ranks + rank)].source);
            EXPECT_EQ(part.rounds[static_cast<std::size_t>(r)].target_out, all.rounds[static_cast<std::size_t>(r * ranks + rank)].target_out);
          }
        }
      }
    for (std::int64_t step = 0; step < one.steps(1); ++step) {
      const StepBatches all = one.make(1, step);
      std::int64_t source = 0, target = 0, padded = 0;
      for (const Batch& batch : all.rounds) {
        source += batch.source_tokens;
        target += batch.target_tokens;
        padded += (batch.source_length + batch.target_length) * batch.sentences;
      }
      EXPECT_EQ(source, all.source_tokens);
      EXPECT_EQ(target, all.target_tokens);
      EXPECT_EQ(padded, all.padded_tokens);
    }
  }
}

TEST(CorpusSource, KnowsTheLargestShapesOfAnEpochBeforeItMakesABatch) {
  const CorpusSource source(make_corpus(101), section(4, 50), 8, 5, 1, 3);
  std::vector<BatchShape> seen;
  for (std::int64_t step = 0; step < source.steps(0); ++step) {
    for (const Batch& batch : source.make(0, step).rounds) keep_largest(seen, {batch.sentences, batch.source_length, batch.target_length});
  }
  const std::vector<BatchShape> known = source.largest_shapes(0);
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(std::is_permutation(known.begin(), known.end(), seen.begin(), seen.end()));
}

TEST(CorpusSource, ThrowsForStepOutside) {
  const CorpusSource source(make_corpus(20), section(4), 2, 5, 0, 1);
  EXPECT_ANY_THROW(static_cast<void>(source.make(0, source.steps(0))));
  EXPECT_THROW(CorpusSource(make_corpus(5), section(4), 2, 5, 0, 1), DataError);
}

/// Epoch e has 3 + e steps; step `bad` of epoch 0 throws; a step sleeps so that workers overtake each other.
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
  std::int64_t steps(std::int64_t epoch) const override { return 3 + epoch; }
  [[nodiscard]] std::vector<BatchShape> largest_shapes(std::int64_t) const override { return {}; }
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

TEST(BatchLoader, ResumeGivesTheSameBatches) {
  const auto source = std::make_shared<CorpusSource>(make_corpus(60), section(4), 2, 5, 0, 1);
  BatchLoader whole(source, 0, 0, 2);
  for (std::int64_t i = 0; i < source->steps(0) + 2; ++i) static_cast<void>(whole.next());
  BatchLoader resumed(source, 1, 2, 1);
  for (int i = 0; i < 12; ++i) EXPECT_EQ(whole.next().rounds[0].source, resumed.next().rounds[0].source);
}

TEST(SyntheticSource, Shapes) {
  auto data = section(3);
  data.vocab_size = 20;
  data.synthetic_length = 5;
  const SyntheticSource one(data, 4, 1, 10, 0, 1);
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
      EXPECT_TRUE(std::all_of(ids->begin(), ids->end(), [](std::int64_t id) { return id >= 4 && id < 20; }));
    }
  }
  EXPECT_NE(all.rounds[0].source, all.rounds[1].source);
  EXPECT_NE(all.rounds[0].source, one.make(0, 3).rounds[0].source);
  const SyntheticSource last(data, 4, 1, 10, 2, 3);
  ASSERT_EQ(last.make(0, 2).rounds.size(), 1U);
  EXPECT_EQ(last.make(0, 2).rounds[0].source, all.rounds[2].source);
  data.vocab_size = 4;
  EXPECT_THROW(SyntheticSource(data, 4, 1, 10, 0, 1), DeckError);
}

}  // namespace
}  // namespace th::data
