#include "th/model/decoding/decoding.hpp"

#include "model/decoding/search_rules.hpp"
#include "model/decoding/sentence_search.hpp"
#include "model/decoding/step_scores.hpp"
#include "th/base/error.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace th::model {

double length_penalty(std::int64_t length, double alpha, config::LengthNormalization kind) {
  const auto ids = static_cast<double>(length);
  return std::pow(kind == config::LengthNormalization::kPower ? ids : (5.0 + ids) / 6.0, alpha);
}

std::vector<Candidates> candidates_of(std::span<const SentenceOptions> sentences) {
  std::vector<Candidates> all;
  for (const SentenceOptions& sentence : sentences) {
    if (sentence.candidates != nullptr) all.push_back(sentence.candidates);
  }
  ensure(all.empty() || all.size() == sentences.size(),
         "candidates_of: some sentences of a batch have candidates, and some don't");
  return all;
}

struct BatchSearch::State {
  State(std::unique_ptr<StepDecoder> by, std::int64_t count, std::int64_t longest_,
        const SearchOptions& given, std::span<const SentenceOptions> sentences)
      : options(given), longest(longest_), rules(options), decoder(std::move(by)) {
    searches.reserve(static_cast<std::size_t>(count));
    for (std::int64_t b = 0; b < count; ++b) {
      searches.emplace_back(rules,
                            sentences.empty()
                                ? SentenceOptions{.number = static_cast<std::uint64_t>(b)}
                                : sentences[static_cast<std::size_t>(b)],
                            longest, b);
    }
  }

  SearchOptions options;
  std::int64_t longest, length = 0;
  SearchRules rules;
  std::unique_ptr<StepDecoder> decoder;
  std::vector<SentenceSearch> searches;
};

BatchSearch::BatchSearch(std::unique_ptr<StepDecoder> decoder, std::int64_t count,
                         std::int64_t longest, const SearchOptions& options,
                         std::span<const SentenceOptions> sentences) {
  ensure(options.beam >= 1 && options.best >= 1 && options.best <= options.beam,
         "BatchSearch: a beam of another width than its results");
  ensure(sentences.empty() || std::ssize(sentences) == count,
         "BatchSearch: options of other sentences than the batch's");
  ensure(!options.sampling || (options.temperature > 0 && options.top_k >= 0 && options.top_p > 0),
         "BatchSearch: no distribution to draw from");
  state_ = std::make_unique<State>(std::move(decoder), count, longest, options, sentences);
}

namespace {

std::int64_t longest_translation(const Transformer& model, const SearchOptions& options) {
  return std::min(options.max_length, model.longest() - 1);
}

std::unique_ptr<StepDecoder> make_decoder(const Transformer& model, ParameterSource& source,
                                          const data::Batch& batch, const SearchOptions& options,
                                          std::span<const SentenceOptions> sentences) {
  c10::InferenceMode no_grad;
  return std::make_unique<IncrementalDecoder>(model, source, batch, options.beam,
                                              longest_translation(model, options) + 1,
                                              candidates_of(sentences));
}

}  // namespace

BatchSearch::BatchSearch(const Transformer& model, ParameterSource& source,
                         const data::Batch& batch, const SearchOptions& options,
                         std::span<const SentenceOptions> sentences)
    : BatchSearch(make_decoder(model, source, batch, options, sentences), batch.sentences,
                  longest_translation(model, options), options, sentences) {}

BatchSearch::~BatchSearch() = default;

bool BatchSearch::done() const {
  return std::all_of(state_->searches.begin(), state_->searches.end(),
                     [](const SentenceSearch& search) { return search.live().empty(); });
}

void BatchSearch::step() {
  c10::InferenceMode no_grad;
  State& s = *state_;
  std::size_t rows = 0;
  for (const SentenceSearch& search : s.searches) rows += search.live().size();
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> parents;
  ids.reserve(rows);
  parents.reserve(rows);
  for (const SentenceSearch& search : s.searches) {
    for (const SentenceSearch::Live& hypothesis : search.live()) {
      ids.push_back(hypothesis.ids.empty() ? data::kBegin : hypothesis.ids.back());
      parents.push_back(hypothesis.parent);
    }
  }
  ensure(!ids.empty(), "BatchSearch: a step after the last");
  const StepScores scores(s.decoder->step(ids, parents));
  std::int64_t first = 0;
  for (SentenceSearch& search : s.searches) {
    const std::int64_t count = std::ssize(search.live());
    if (count == 0) continue;
    if (s.length < s.longest) {
      search.advance(scores, first);
    } else {
      search.end_all(scores, first);
    }
    first += count;
  }
  ++s.length;
}

std::vector<std::vector<Hypothesis>> BatchSearch::results() && {
  std::vector<std::vector<Hypothesis>> results;
  for (SentenceSearch& search : state_->searches) results.push_back(std::move(search).finished());
  return results;
}

std::vector<std::vector<Hypothesis>> translate(const Transformer& model, ParameterSource& source,
                                               const data::Batch& batch,
                                               const SearchOptions& options,
                                               std::span<const SentenceOptions> sentences) {
  if (batch.sentences == 0) return {};
  BatchSearch search(model, source, batch, options, sentences);
  while (!search.done()) search.step();
  return std::move(search).results();
}

std::vector<double> score_targets(Transformer& model, ParameterSource& source,
                                  const data::Batch& batch) {
  return target_scores(StepScores(model.logits(source, batch)), batch);
}

}  // namespace th::model
