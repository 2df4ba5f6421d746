#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/corpus.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

namespace th::data {

/// A corpus's pairs with segmentations that are drawn anew in every epoch: hashes of seed, epoch,
/// the sentence's number, side and place. Immutable: safe to share among threads.
class SampledPairs {
 public:
  /// Throws DataError where the index holds no text.
  SampledPairs(std::shared_ptr<const ParallelCorpus> corpus, TokenizerPair tokenizers,
               const config::DataSection& data, std::uint64_t seed);
  /// Words, end, cut as the index's are.
  [[nodiscard]] std::vector<std::int32_t> source(std::int64_t epoch, std::int64_t sentence) const;
  /// Begin, words, end, cut as the index's are.
  [[nodiscard]] std::vector<std::int32_t> target(std::int64_t epoch, std::int64_t sentence) const;
  [[nodiscard]] SentenceLength length(std::int64_t epoch, std::int64_t sentence) const;

 private:
  enum class Side : std::uint64_t { kSource, kTarget };
  [[nodiscard]] std::uint64_t key(std::int64_t epoch, std::int64_t sentence, Side side) const;
  std::shared_ptr<const ParallelCorpus> corpus_;
  TokenizerPair tokenizers_;
  double amount_;
  std::int64_t source_length_, target_length_;
  std::uint64_t seed_;
};

}  // namespace th::data
