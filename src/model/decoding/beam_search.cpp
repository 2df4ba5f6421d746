#include "th/model/decoding/decoding.hpp"

#include "model/ops/decoding_kernels.hpp"
#include "th/base/error.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>

namespace th::model {

namespace {

/// A step's logits [R, V], any element type.
class Scores {
 public:
  explicit Scores(const at::Tensor& logits) : logits_(logits) {
    with_element(logits, [&](auto element) {
      using T = decltype(element);
      for (std::int64_t r = 0; r < logits.size(0); ++r) {
        rows_.push_back(normalizer_of(elements<T>(logits) + r * logits.size(1), logits.size(1)));
        if (!rows_.back().finite)
          throw NumericsError(
              "decoding: the model's logits are not finite; the parameters have overflowed or are "
              "damaged");
      }
    });
  }
  [[nodiscard]] double log_probability(std::int64_t row, std::int64_t id) const {
    double value = 0;
    with_element(logits_, [&](auto element) {
      value = rows_[static_cast<std::size_t>(row)].log_probability(
          to_float(elements<decltype(element)>(logits_)[row * logits_.size(1) + id]));
    });
    return value;
  }
  /// The ids of the `count` largest logits of a row, equal ones by smaller id, without padding and
  /// the begin symbol. In no order.
  [[nodiscard]] std::vector<std::int32_t> best(std::int64_t row, std::int64_t count) const {
    struct Logit {
      float value;
      std::int32_t id;
    };
    const auto better = [](const Logit& a, const Logit& b) {
      return a.value > b.value || (a.value == b.value && a.id < b.id);
    };
    std::vector<Logit> heap;  // the worst on top
    with_element(logits_, [&](auto element) {
      using T = decltype(element);
      const T* x = elements<T>(logits_) + row * logits_.size(1);
      for (std::int64_t v = 0; v < logits_.size(1); ++v) {
        if (v == data::kPad || v == data::kBegin) continue;
        const Logit logit{to_float(x[v]), static_cast<std::int32_t>(v)};
        if (std::ssize(heap) < count) {
          heap.push_back(logit);
          std::push_heap(heap.begin(), heap.end(), better);
        } else if (better(logit, heap.front())) {
          std::pop_heap(heap.begin(), heap.end(), better);
          heap.back() = logit;
          std::push_heap(heap.begin(), heap.end(), better);
        }
      }
    });
    std::vector<std::int32_t> ids;
    for (const Logit& logit : heap) ids.push_back(logit.id);
    return ids;
  }

 private:
  const at::Tensor& logits_;
  std::vector<RowNormalizer> rows_;
};

/// The search for one sentence.
class SentenceSearch {
 public:
  struct Live {
    std::vector<std::int32_t> ids;
    double log_prob = 0;
    std::int64_t parent = 0;  ///< the row of the last step that it continues
  };

  SentenceSearch(const SearchOptions& options, std::int64_t longest, std::int64_t number)
      : options_(options),
        longest_penalty_(length_penalty(longest + 1, options.length_penalty)),
        live_{Live{{}, 0, number}} {}

  [[nodiscard]] const std::vector<Live>& live() const noexcept { return live_; }
  [[nodiscard]] std::vector<Hypothesis>&& finished() && noexcept { return std::move(finished_); }

  /// Continues the live hypotheses, which are the rows from `first` on.
  void advance(const Scores& scores, std::int64_t first) {
    const std::vector<Candidate> candidates = best_candidates(scores, first);
    std::vector<Live> next;
    for (std::size_t i = 0; i < candidates.size() && std::ssize(next) < options_.beam; ++i) {
      const Candidate& c = candidates[i];
      const Live& from = live_[c.from];
      if (c.id == data::kEnd) {
        if (static_cast<std::int64_t>(i) < options_.beam) finish(from.ids, c.log_prob);
        continue;
      }
      next.push_back({from.ids, c.log_prob, first + static_cast<std::int64_t>(c.from)});
      next.back().ids.push_back(c.id);
    }
    live_ = std::move(next);
    if (options_.beam == 1 && !finished_.empty()) live_.clear();
    if (std::ssize(finished_) < options_.best) return;
    std::erase_if(live_, [&](const Live& hypothesis) {
      return hypothesis.log_prob / longest_penalty_ <= finished_.back().score;
    });
  }
  /// Ends the live hypotheses where they stand.
  void end_all(const Scores& scores, std::int64_t first) {
    for (std::size_t h = 0; h < live_.size(); ++h) {
      finish(live_[h].ids,
             live_[h].log_prob +
                 scores.log_probability(first + static_cast<std::int64_t>(h), data::kEnd));
    }
    live_.clear();
  }

 private:
  struct Candidate {
    double log_prob;
    std::size_t from;  ///< index of the live hypothesis
    std::int32_t id;
  };

  /// N + the number of live hypotheses: with one end each, N of them do not end.
  [[nodiscard]] std::vector<Candidate> best_candidates(const Scores& scores,
                                                       std::int64_t first) const {
    const std::int64_t count = options_.beam + std::ssize(live_);
    std::vector<Candidate> all;
    for (std::size_t h = 0; h < live_.size(); ++h) {
      const std::int64_t row = first + static_cast<std::int64_t>(h);
      for (const std::int32_t id : scores.best(row, count))
        all.push_back({live_[h].log_prob + scores.log_probability(row, id), h, id});
    }
    std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
      if (a.log_prob != b.log_prob) return a.log_prob > b.log_prob;
      return a.from != b.from ? a.from < b.from : a.id < b.id;
    });
    if (std::ssize(all) > count) all.resize(static_cast<std::size_t>(count));
    return all;
  }
  void finish(const std::vector<std::int32_t>& ids, double log_prob) {
    const double score = log_prob / length_penalty(std::ssize(ids) + 1, options_.length_penalty);
    const auto place = std::upper_bound(finished_.begin(), finished_.end(), score,
                                        [](double s, const Hypothesis& h) { return s > h.score; });
    finished_.insert(place, Hypothesis{ids, log_prob, score});
    if (std::ssize(finished_) > options_.best) finished_.pop_back();
  }

  SearchOptions options_;
  double longest_penalty_;
  std::vector<Live> live_;            ///< by falling log p
  std::vector<Hypothesis> finished_;  ///< the best, by falling score
};

}  // namespace

double length_penalty(std::int64_t length, double alpha) {
  return std::pow((5.0 + static_cast<double>(length)) / 6.0, alpha);
}

struct BatchSearch::State {
  State(const Transformer& model, ParameterSource& source, const data::Batch& batch,
        const SearchOptions& options)
      : longest(std::min(options.max_length, model.longest() - 1)),
        decoder(model, source, batch, options.beam, longest + 1) {
    for (std::int64_t b = 0; b < batch.sentences; ++b) searches.emplace_back(options, longest, b);
  }

  std::int64_t longest, length = 0;
  IncrementalDecoder decoder;
  std::vector<SentenceSearch> searches;
};

BatchSearch::BatchSearch(const Transformer& model, ParameterSource& source,
                         const data::Batch& batch, const SearchOptions& options,
                         std::span<const SentenceOptions> /*sentences*/) {
  ensure(options.beam >= 1 && options.best >= 1 && options.best <= options.beam,
         "BatchSearch: a beam of another width than its results");
  c10::InferenceMode no_grad;
  state_ = std::make_unique<State>(model, source, batch, options);
}

BatchSearch::~BatchSearch() = default;

bool BatchSearch::done() const {
  return std::all_of(state_->searches.begin(), state_->searches.end(),
                     [](const SentenceSearch& search) { return search.live().empty(); });
}

void BatchSearch::step() {
  c10::InferenceMode no_grad;
  State& s = *state_;
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> parents;
  for (const SentenceSearch& search : s.searches) {
    for (const SentenceSearch::Live& hypothesis : search.live()) {
      ids.push_back(hypothesis.ids.empty() ? data::kBegin : hypothesis.ids.back());
      parents.push_back(hypothesis.parent);
    }
  }
  ensure(!ids.empty(), "BatchSearch: a step after the last");
  const at::Tensor logits = s.decoder.step(ids, parents);
  const Scores scores(logits);
  std::int64_t first = 0;
  for (SentenceSearch& search : s.searches) {
    const std::int64_t rows = std::ssize(search.live());
    if (rows == 0) continue;
    if (s.length < s.longest) {
      search.advance(scores, first);
    } else {
      search.end_all(scores, first);
    }
    first += rows;
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
  const at::Tensor logits = model.logits(source, batch);
  const Scores scores(logits);
  std::vector<double> sums(static_cast<std::size_t>(batch.sentences), 0.0);
  std::int64_t row = 0;
  for (std::size_t b = 0; b < sums.size(); ++b) {
    for (std::int64_t t = 0; t < batch.target_lengths[b]; ++t, ++row) {
      sums[b] += scores.log_probability(row, batch.target_out[static_cast<std::size_t>(row)]);
    }
  }
  return sums;
}

}  // namespace th::model
