#include "th/data/shortlist/word_translations.hpp"

#include <algorithm>

#include "th/base/error.hpp"
#include "th/data/tokenizer/special_ids.hpp"

namespace th::data {

namespace {

bool is_special_id(std::int32_t id) { return id <= kEnd; }

void append_words(std::span<const std::int32_t> ids, std::vector<std::int32_t>& out) {
  std::copy_if(ids.begin(), ids.end(), std::back_inserter(out),
               [](std::int32_t id) { return !is_special_id(id); });
}

/// The pairs that each source id stands in, ascending, as often as it does.
class Postings {
 public:
  Postings(const IdPairs& pairs, std::int64_t vocabulary)
      : end_(static_cast<std::size_t>(vocabulary) + 1, 0), pairs_(pairs.all_sources().size()) {
    for (const std::int32_t id : pairs.all_sources()) ++end_.at(static_cast<std::size_t>(id) + 1);
    for (std::size_t i = 1; i < end_.size(); ++i) end_[i] += end_[i - 1];
    std::vector<std::int64_t> next(end_.begin(), end_.end() - 1);
    for (std::int64_t pair = 0; pair < pairs.size(); ++pair) {
      for (const std::int32_t id : pairs.source(pair)) {
        std::int64_t& place = next[static_cast<std::size_t>(id)];
        pairs_[static_cast<std::size_t>(place++)] = static_cast<std::int32_t>(pair);
      }
    }
  }
  [[nodiscard]] std::span<const std::int32_t> of(std::int64_t id) const {
    const auto i = static_cast<std::size_t>(id);
    return std::span(pairs_).subspan(static_cast<std::size_t>(end_[i]),
                                     static_cast<std::size_t>(end_[i + 1] - end_[i]));
  }

 private:
  std::vector<std::int64_t> end_;
  std::vector<std::int32_t> pairs_;
};

/// One source id is looked at after the other, so that beside the tables of probability there is a
/// row of the target vocabulary and a number for each target id of the text.
class Model1 {
 public:
  Model1(const IdPairs& pairs, std::int64_t source_vocabulary, std::int64_t target_vocabulary)
      : pairs_(pairs),
        postings_(pairs, source_vocabulary),
        table_(static_cast<std::size_t>(source_vocabulary)),
        of_empty_(static_cast<std::size_t>(target_vocabulary), 1.0),
        row_(of_empty_.size(), 1.0),
        counts_(of_empty_.size(), 0.0),
        sums_(pairs.all_targets().size(), 0.0F) {}

  void iterate() {
    sum_up();
    for (std::size_t source = 0; source < table_.size(); ++source) {
      spread(source, true);
      std::vector<WordTranslation> next = counted(static_cast<std::int64_t>(source));
      spread(source, false);
      table_[source] = std::move(next);
    }
    count_empty();
    if (uniform_) std::fill(row_.begin(), row_.end(), 0.0);
    uniform_ = false;
  }
  [[nodiscard]] std::vector<std::vector<WordTranslation>> table() && { return std::move(table_); }

 private:
  /// Puts a source id's probabilities into the row, or takes them out.
  void spread(std::size_t source, bool in) {
    if (uniform_) return;  // the row holds 1 for all
    for (const WordTranslation& t : table_[source])
      row_[static_cast<std::size_t>(t.id)] = in ? static_cast<double>(t.probability) : 0.0;
  }
  /// For each target id of the text the sum over its sentence's source ids, and the empty word.
  void sum_up() {
    const std::vector<std::int32_t>& targets = pairs_.all_targets();
    for (std::size_t i = 0; i < targets.size(); ++i)
      sums_[i] = static_cast<float>(of_empty_[static_cast<std::size_t>(targets[i])]);
    for (std::size_t source = 0; source < table_.size(); ++source) {
      spread(source, true);
      for (const std::int32_t pair : postings_.of(static_cast<std::int64_t>(source))) {
        float* sum = sums_.data() + pairs_.target_begin(pair);
        for (const std::int32_t id : pairs_.target(pair))
          *sum++ += static_cast<float>(row_[static_cast<std::size_t>(id)]);
      }
      spread(source, false);
    }
  }
  /// The source id of the row: its expected counts, as probabilities.
  std::vector<WordTranslation> counted(std::int64_t source) {
    std::vector<std::int32_t> seen;
    for (const std::int32_t pair : postings_.of(source)) {
      const float* sum = sums_.data() + pairs_.target_begin(pair);
      for (const std::int32_t id : pairs_.target(pair)) {
        const double part = row_[static_cast<std::size_t>(id)] / static_cast<double>(*sum++);
        if (!(part > 0)) continue;
        double& count = counts_[static_cast<std::size_t>(id)];
        if (count == 0) seen.push_back(id);
        count += part;
      }
    }
    std::sort(seen.begin(), seen.end());
    double all = 0;
    for (const std::int32_t id : seen) all += counts_[static_cast<std::size_t>(id)];
    std::vector<WordTranslation> out;
    for (const std::int32_t id : seen) {
      double& count = counts_[static_cast<std::size_t>(id)];
      out.push_back({id, static_cast<float>(count / all)});
      count = 0;
    }
    const auto likelier_word = [](const WordTranslation& a, const WordTranslation& b) {
      return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
    };
    const std::int64_t kept = std::min(std::ssize(out), kKeptTranslations);
    std::partial_sort(out.begin(), out.begin() + kept, out.end(), likelier_word);
    out.resize(static_cast<std::size_t>(kept));
    out.shrink_to_fit();
    return out;
  }
  void count_empty() {
    std::vector<double> next(of_empty_.size(), 0.0);
    const std::vector<std::int32_t>& targets = pairs_.all_targets();
    double all = 0;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const auto id = static_cast<std::size_t>(targets[i]);
      const double part = of_empty_[id] / static_cast<double>(sums_[i]);
      next[id] += part;
      all += part;
    }
    for (double& value : next) value /= all;
    of_empty_ = std::move(next);
  }

  const IdPairs& pairs_;
  Postings postings_;
  std::vector<std::vector<WordTranslation>> table_;
  std::vector<double> of_empty_;  ///< probabilities of target ids, given the empty word
  std::vector<double> row_, counts_;
  std::vector<float> sums_;
  bool uniform_ = true;  ///< before the first iteration: every probability is 1, up to a factor
};

}  // namespace

void IdPairs::add(std::span<const std::int32_t> source, std::span<const std::int32_t> target) {
  append_words(source, source_);
  append_words(target, target_);
  if (std::ssize(source_) == source_end_.back() || std::ssize(target_) == target_end_.back()) {
    source_.resize(static_cast<std::size_t>(source_end_.back()));
    target_.resize(static_cast<std::size_t>(target_end_.back()));
    return;
  }
  source_end_.push_back(std::ssize(source_));
  target_end_.push_back(std::ssize(target_));
}

std::vector<std::vector<WordTranslation>> learn_translations(const IdPairs& pairs,
                                                             std::int64_t source_vocabulary,
                                                             std::int64_t target_vocabulary,
                                                             std::int64_t iterations) {
  ensure(iterations >= 1, "learn_translations: no iterations");
  Model1 model(pairs, source_vocabulary, target_vocabulary);
  for (std::int64_t i = 0; i < iterations; ++i) model.iterate();
  return std::move(model).table();
}

}  // namespace th::data
