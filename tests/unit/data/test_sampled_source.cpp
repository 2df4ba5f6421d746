// Batches of segmentations that are drawn anew in every epoch.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "th/data/dataset.hpp"
#include "th/data/loader.hpp"

namespace th::data {
namespace {

using Ids = std::vector<std::int64_t>;

class SampledSource : public testing::TestWithParam<config::TokenizerKind> {
 protected:
  void SetUp() override {
    const std::string data = std::string(TH_SOURCE_DIR) + "/inputs/data/numbers.valid.";
    section_.train_source = data + "en";
    section_.train_target = data + "fr";
    section_.tokenizer = GetParam();
    section_.vocab_size = GetParam() == config::TokenizerKind::kBpe ? 360 : 330;
    section_.subword_sampling = 0.3;
    section_.batch_tokens = 120;
    section_.max_length = 40;
    NodeShare share;
    share.output_dir =
        (std::filesystem::path(testing::TempDir()) / ("th_sampled_" + std::to_string(::getpid())))
            .string();
    dataset_ = open_dataset(section_, false, share);
  }
  [[nodiscard]] CorpusSource source(std::int64_t rank = 0, std::int64_t ranks = 1) const {
    return {dataset_.training(), section_, {4, ranks}, 7, rank};
  }
  config::DataSection section_;
  Dataset dataset_;
};
INSTANTIATE_TEST_SUITE_P(Kinds, SampledSource,
                         testing::Values(config::TokenizerKind::kBpe,
                                         config::TokenizerKind::kUnigram),
                         [](const auto& p) { return std::string(kind_name(p.param)); });

/// The texts of a batch's sources and targets, and their ids.
void add_sentences(const Batch& batch, const Dataset& dataset,
                   std::map<std::pair<std::string, std::string>, std::pair<Ids, Ids>>& all) {
  auto source = batch.source.begin();
  auto target = batch.target_out.begin();
  for (std::size_t b = 0; b < batch.source_lengths.size(); ++b) {
    const Ids s(source, source + batch.source_lengths[b]),
        t(target, target + batch.target_lengths[b]);
    source += batch.source_lengths[b];
    target += batch.target_lengths[b];
    EXPECT_EQ(s.back(), kEnd);
    EXPECT_EQ(t.back(), kEnd);
    const std::vector<std::int32_t> s32(s.begin(), s.end()), t32(t.begin(), t.end());
    all[{dataset.source_tokenizer->decode(s32), dataset.target_tokenizer->decode(t32)}] = {s, t};
  }
}

TEST_P(SampledSource, EveryEpochHasTheSameSentencesInOtherPieces) {
  const CorpusSource all = source();
  std::array<std::map<std::pair<std::string, std::string>, std::pair<Ids, Ids>>, 2> epochs;
  for (std::int64_t epoch : {0, 1}) {
    std::vector<BatchShape> largest = all.largest_shapes(epoch, StepSource::SlotsOf::kThisRank);
    for (std::int64_t step = 0; step < all.steps(epoch); ++step) {
      const StepBatches batches = all.make(epoch, step);
      std::int64_t source_tokens = 0, target_tokens = 0;
      for (const Batch& batch : batches.rounds) {
        add_sentences(batch, dataset_, epochs[static_cast<std::size_t>(epoch)]);
        source_tokens += batch.source_tokens;
        target_tokens += batch.target_tokens;
        const BatchShape shape(batch.source_lengths, batch.target_lengths);
        EXPECT_TRUE(batch.sentences == 0 ||
                    std::any_of(largest.begin(), largest.end(),
                                [&](const BatchShape& other) { return shape.within(other); }));
        std::int64_t budget = 0;
        for (std::size_t b = 0; b < batch.source_lengths.size(); ++b)
          budget += std::max(batch.source_lengths[b], batch.target_lengths[b]);
        EXPECT_LE(budget, section_.batch_tokens);
        EXPECT_LE(batch.source_length, section_.max_length);
      }
      EXPECT_EQ(batches.source_tokens, source_tokens);
      EXPECT_EQ(batches.target_tokens, target_tokens);
    }
  }
  // Lines that were cut have another text in each epoch; these have none.
  std::size_t others = 0, whole = 0;
  for (const auto& [text, ids] : epochs[0]) {
    const auto found = epochs[1].find(text);
    if (found == epochs[1].end()) continue;
    ++whole;
    others += found->second != ids ? 1 : 0;
  }
  EXPECT_GT(whole, 150U);
  EXPECT_GT(others, whole / 2);
}

TEST_P(SampledSource, IsTheSameAtEveryRankCountAndFromEveryStart) {
  const CorpusSource one = source();
  for (const std::int64_t ranks : {3, 4}) {
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      const CorpusSource mine = source(rank, ranks);
      ASSERT_EQ(mine.steps(2), one.steps(2));
      for (const std::int64_t step : {one.steps(2) - 1, std::int64_t{0}}) {
        const StepBatches all = one.make(2, step), part = mine.make(2, step);
        EXPECT_EQ(part.target_tokens, all.target_tokens);
        EXPECT_EQ(part.score_cells, all.score_cells);
        for (std::int64_t r = 0; r < std::ssize(part.rounds); ++r) {
          const Batch& batch = all.rounds[static_cast<std::size_t>(r * ranks + rank)];
          EXPECT_EQ(part.rounds[static_cast<std::size_t>(r)].source, batch.source);
          EXPECT_EQ(part.rounds[static_cast<std::size_t>(r)].target_in, batch.target_in);
        }
      }
    }
  }
}

TEST_P(SampledSource, WithoutSamplingTheIndexHasNoText) {
  EXPECT_FALSE(source().counts_quickly());
  section_.subword_sampling = 0;
  NodeShare share;
  share.output_dir = testing::TempDir();
  const Dataset plain = open_dataset(section_, false, share);
  EXPECT_FALSE(plain.train->has_text());
  EXPECT_TRUE(dataset_.train->has_text());
  EXPECT_EQ(plain.source_tokenizer->saved(), dataset_.source_tokenizer->saved());
  const CorpusSource fixed({plain.train, {}}, section_, {4, 1}, 7, 0);
  EXPECT_TRUE(fixed.counts_quickly());
}

}  // namespace
}  // namespace th::data
