#include "data/sampled_pairs.hpp"

#include <utility>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"

namespace th::data {

SampledPairs::SampledPairs(std::shared_ptr<const ParallelCorpus> corpus, TokenizerPair tokenizers,
                           const config::DataSection& data, std::uint64_t seed)
    : corpus_(std::move(corpus)),
      tokenizers_(std::move(tokenizers)),
      amount_(data.subword_sampling),
      source_length_(data.source_length()),
      target_length_(data.target_length()),
      seed_(seed) {
  ensure(corpus_->has_text() && !tokenizers_.empty(), "SampledPairs: an index without its text");
}

std::uint64_t SampledPairs::key(std::int64_t epoch, std::int64_t sentence, Side side) const {
  constexpr std::uint64_t kSamplingStream = 0x73756277;
  const std::uint64_t of_epoch =
      hash_pair(hash_pair(seed_, kSamplingStream), static_cast<std::uint64_t>(epoch));
  return hash_pair(hash_pair(of_epoch, static_cast<std::uint64_t>(sentence)),
                   static_cast<std::uint64_t>(side));
}

std::vector<std::int32_t> SampledPairs::source(std::int64_t epoch, std::int64_t sentence) const {
  return framed_source(tokenizers_.source->sample(corpus_->source_text(sentence), amount_,
                                                  key(epoch, sentence, Side::kSource)),
                       source_length_);
}

std::vector<std::int32_t> SampledPairs::target(std::int64_t epoch, std::int64_t sentence) const {
  return framed_target(tokenizers_.target->sample(corpus_->target_text(sentence), amount_,
                                                  key(epoch, sentence, Side::kTarget)),
                       target_length_);
}

SentenceLength SampledPairs::length(std::int64_t epoch, std::int64_t sentence) const {
  return {static_cast<std::int32_t>(source(epoch, sentence).size()),
          static_cast<std::int32_t>(target(epoch, sentence).size()) - 1};
}

}  // namespace th::data
