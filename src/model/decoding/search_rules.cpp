#include "model/decoding/search_rules.hpp"

#include "th/base/error.hpp"

#include <algorithm>

namespace th::model {

namespace {

using Ids = std::span<const std::int32_t>;

void sort_once(std::vector<std::int32_t>& ids) {
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

/// Whether `tail` ends `ids`.
bool ends_with(Ids ids, Ids tail) {
  return ids.size() >= tail.size() &&
         std::equal(tail.begin(), tail.end(), ids.end() - std::ssize(tail));
}

/// Appends what followed the last n - 1 ids where they stood before.
void append_repeats(Ids ids, std::int64_t n, std::vector<std::int32_t>& out) {
  const std::int64_t before = n - 1;
  if (std::ssize(ids) < n) return;
  const Ids tail = ids.last(static_cast<std::size_t>(before));
  for (std::size_t at = tail.size(); at < ids.size(); ++at) {
    if (ends_with(ids.first(at), tail)) out.push_back(ids[at]);
  }
}

}  // namespace

SearchRules::SearchRules(const SearchOptions& options)
    : options_(options), always_{data::kPad, data::kBegin} {
  more_ = options.min_length > 0 || options.no_repeat_ngram > 0 || !options.forbidden.empty();
  for (const std::vector<std::int32_t>& sequence : options.forbidden) {
    ensure(!sequence.empty(), "SearchRules: a forbidden sequence of no ids");
    ensure(std::find(sequence.begin(), sequence.end(), data::kEnd) == sequence.end(),
           "SearchRules: the end is forbidden");
    if (sequence.size() == 1) always_.push_back(sequence[0]);
  }
  sort_once(always_);
}

std::vector<std::int32_t> SearchRules::barred_after(
    std::span<const std::int32_t> ids, std::int64_t vocabulary,
    std::span<const std::int32_t> candidates) const {
  std::vector<std::int32_t> barred = always_;
  if (!more_) return barred;
  if (std::ssize(ids) < options_.min_length) barred.push_back(data::kEnd);
  for (const std::vector<std::int32_t>& sequence : options_.forbidden) {
    if (sequence.size() > 1 && ends_with(ids, Ids(sequence).first(sequence.size() - 1)))
      barred.push_back(sequence.back());
  }
  if (options_.no_repeat_ngram > 0) append_repeats(ids, options_.no_repeat_ngram, barred);
  sort_once(barred);
  const bool all = candidates.empty() ? std::ssize(barred) == vocabulary
                                      : std::includes(barred.begin(), barred.end(),
                                                      candidates.begin(), candidates.end());
  if (all) std::erase(barred, data::kEnd);
  return barred;
}

}  // namespace th::model
