#include "model/decoding/sentence_search.hpp"

#include "model/decoding/sampling.hpp"
#include "th/base/error.hpp"

#include <algorithm>
#include <utility>

namespace th::model {

SentenceSearch::SentenceSearch(const SearchRules& rules, SentenceOptions sentence,
                               std::int64_t longest, std::int64_t place)
    : rules_(rules),
      options_(rules.options()),
      sentence_(std::move(sentence)),
      longest_penalty_(
          length_penalty(longest + 1, options_.length_penalty, options_.length_normalization)),
      live_{Live{{}, 0, place, 0}} {
  ensure(std::ssize(sentence_.prefix) <= longest, "SentenceSearch: a prefix above the longest");
}

namespace {

/// `ids` and one more, in room for just these.
std::vector<std::int32_t> continued(const std::vector<std::int32_t>& ids, std::int32_t id) {
  std::vector<std::int32_t> out;
  out.reserve(ids.size() + 1);
  out.insert(out.end(), ids.begin(), ids.end());
  out.push_back(id);
  return out;
}

}  // namespace

SentenceSearch::Bytes SentenceSearch::bytes(const SearchOptions& options, std::int64_t vocabulary,
                                            std::int64_t longest) {
  const auto block = [](std::int64_t count, std::size_t size) {
    return runtime::counted(count * static_cast<std::int64_t>(size));
  };
  const std::int64_t ids = block(longest, sizeof(std::int32_t));
  const std::int64_t live = block(options.beam, sizeof(Live)) + options.beam * ids;
  const std::int64_t kept =
      live + block(2 * (options.best + 1), sizeof(Hypothesis)) + (options.best + 1) * ids;
  if (options.sampling) return {kept, live + DrawDistribution::bytes(options, vocabulary)};
  const std::int64_t count = std::min(2 * options.beam, vocabulary);
  return {kept,
          live + block(options.beam * count, sizeof(Candidate)) + best_bytes(vocabulary, count)};
}

void SentenceSearch::advance(const StepScores& scores, std::int64_t first) {
  if (live_[0].ids.size() < sentence_.prefix.size()) {
    follow_prefix(scores, first);
  } else if (options_.sampling) {
    draw(scores, first);
  } else {
    search(scores, first);
  }
}

void SentenceSearch::end_all(const StepScores& scores, std::int64_t first) {
  for (std::size_t h = 0; h < live_.size(); ++h) {
    const double log_prob =
        live_[h].log_prob +
        scores.log_probability(first + static_cast<std::int64_t>(h), data::kEnd);
    for (std::int64_t d = 0; d < draws_of_each(); ++d) finish(live_[h].ids, log_prob);
  }
  live_.clear();
}

void SentenceSearch::follow_prefix(const StepScores& scores, std::int64_t first) {
  Live& only = live_[0];
  const std::int32_t id = sentence_.prefix[only.ids.size()];
  ensure(id != data::kEnd, "SentenceSearch: the end in a prefix");
  only.log_prob += scores.log_probability(first, id);
  only.ids.push_back(id);
  only.parent = first;
}

std::int64_t SentenceSearch::draws_of_each() const {
  return options_.sampling && !drawn_ ? options_.beam : 1;
}

void SentenceSearch::draw(const StepScores& scores, std::int64_t first) {
  std::vector<Live> next;
  next.reserve(static_cast<std::size_t>(options_.beam));
  for (std::size_t h = 0; h < live_.size(); ++h) {
    const Live& from = live_[h];
    const std::int64_t row = first + static_cast<std::int64_t>(h);
    const std::vector<std::int32_t> barred =
        rules_.barred_after(from.ids, scores.columns(row), scores.ids(row));
    const DrawDistribution distribution(scores, row, options_, barred);
    for (std::int64_t d = 0; d < draws_of_each(); ++d) {
      const std::int64_t number = from.draw + d;
      const std::int32_t id = distribution.at(
          uniform_at({options_.seed, sentence_.number, number, std::ssize(from.ids)}));
      const double log_prob = from.log_prob + scores.log_probability(row, id);
      if (id == data::kEnd) {
        finish(from.ids, log_prob);
        continue;
      }
      next.push_back({continued(from.ids, id), log_prob, row, number});
    }
  }
  live_ = std::move(next);
  drawn_ = true;
}

void SentenceSearch::search(const StepScores& scores, std::int64_t first) {
  const std::vector<Candidate> candidates = best_candidates(scores, first);
  std::vector<Live> next;
  next.reserve(static_cast<std::size_t>(options_.beam));
  for (std::size_t i = 0; i < candidates.size() && std::ssize(next) < options_.beam; ++i) {
    const Candidate& c = candidates[i];
    const Live& from = live_[c.from];
    if (c.id == data::kEnd) {
      if (static_cast<std::int64_t>(i) < options_.beam) finish(from.ids, c.log_prob);
      continue;
    }
    next.push_back(
        {continued(from.ids, c.id), c.log_prob, first + static_cast<std::int64_t>(c.from), 0});
  }
  live_ = std::move(next);
  if (options_.beam == 1 && !finished_.empty()) live_.clear();
  if (std::ssize(finished_) < options_.best) return;
  std::erase_if(live_, [&](const Live& hypothesis) {
    return hypothesis.log_prob / longest_penalty_ <= finished_.back().score;
  });
}

std::vector<SentenceSearch::Candidate> SentenceSearch::best_candidates(const StepScores& scores,
                                                                       std::int64_t first) const {
  // N + the number of live hypotheses: with one end each, N of them do not end.
  const std::int64_t count = options_.beam + std::ssize(live_);
  std::vector<Candidate> all;
  all.reserve(live_.size() * static_cast<std::size_t>(std::min(count, scores.columns(first))));
  for (std::size_t h = 0; h < live_.size(); ++h) {
    const std::int64_t row = first + static_cast<std::int64_t>(h);
    const std::vector<std::int32_t> barred =
        rules_.barred_after(live_[h].ids, scores.columns(row), scores.ids(row));
    for (const Logit& logit : scores.best(row, count, barred))
      all.push_back({live_[h].log_prob + scores.log_probability(row, logit.id), h, logit.id});
  }
  std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    if (a.log_prob != b.log_prob) return a.log_prob > b.log_prob;
    return a.from != b.from ? a.from < b.from : a.id < b.id;
  });
  if (std::ssize(all) > count) all.resize(static_cast<std::size_t>(count));
  return all;
}

void SentenceSearch::finish(const std::vector<std::int32_t>& ids, double log_prob) {
  // Draws are likely or not, and no longer one is better for that.
  const double score = options_.sampling
                           ? log_prob
                           : log_prob / length_penalty(std::ssize(ids) + 1, options_.length_penalty,
                                                       options_.length_normalization);
  const auto place = std::upper_bound(finished_.begin(), finished_.end(), score,
                                      [](double s, const Hypothesis& h) { return s > h.score; });
  finished_.insert(place, Hypothesis{ids, log_prob, score});
  if (std::ssize(finished_) > options_.best) finished_.pop_back();
}

}  // namespace th::model
