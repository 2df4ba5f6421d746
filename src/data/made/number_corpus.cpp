#include "th/data/made/number_corpus.hpp"

#include <algorithm>
#include <array>
#include <unordered_set>
#include <utility>

#include "data/made/draws.hpp"
#include "data/made/word_counts.hpp"
#include "th/base/error.hpp"

namespace th::data {
namespace {

SentencePair draw_number(Draws& draws) {
  constexpr std::array<std::int64_t, 10> kBounds = {100,   100,   1000,  1000,  1000,
                                                    10000, 10000, 10000, 10000, 10000};
  const bool large = draws.below(100) < 3;
  const std::int64_t bound =
      large ? kLargestNumber + 1 : kBounds[static_cast<std::size_t>(draws.below(10))];
  const std::int64_t number = draws.below(bound);
  return {english_number(number), french_number(number)};
}

/// Sakamoto's rule, Monday 0.
int weekday_of(int year, int month, int day) {
  constexpr std::array<int, 12> kShift = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
  if (month < 3) --year;
  return (year + year / 4 - year / 100 + year / 400 + kShift[static_cast<std::size_t>(month - 1)] +
          day + 6) %
         7;
}

SentencePair draw_date(Draws& draws) {
  constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  Date date;
  date.month = static_cast<int>(draws.below(12)) + 1;
  date.day = static_cast<int>(draws.below(kDays[static_cast<std::size_t>(date.month - 1)])) + 1;
  const std::int64_t form = draws.below(10);
  if (form >= 4) date.year = static_cast<int>(draws.below(130)) + 1900;
  if (form < 3) date.weekday = static_cast<int>(draws.below(7));
  if (form >= 8) date.weekday = weekday_of(date.year, date.month, date.day);
  return spell_date(date);
}

SentencePair draw_time(Draws& draws) {
  ClockTime time;
  time.hour = static_cast<int>(draws.below(24));
  time.minute = static_cast<int>(draws.below(3) < 2 ? draws.below(12) * 5 : draws.below(60));
  time.day_part = draws.below(2) == 1;
  time.frame = static_cast<TimeFrame>(draws.below(3));
  return spell_time(time);
}

SentencePair draw_pair(Draws& draws) {
  const std::int64_t kind = draws.below(100);
  if (kind < 45) return draw_number(draws);
  return kind < 75 ? draw_date(draws) : draw_time(draws);
}

}  // namespace

NumberCorpus make_number_corpus(std::int64_t pairs, std::uint64_t seed) {
  if (pairs < 100 || pairs > 500000)
    throw DeckError("number corpus: " + std::to_string(pairs) + " pairs asked; give 100 to 500000");
  Draws draws(seed);
  NumberCorpus corpus;
  std::unordered_set<std::string> seen;
  WordCounts sources, targets;
  while (std::ssize(corpus.train) < pairs) {
    SentencePair pair = draw_pair(draws);
    if (!seen.insert(pair.source).second) continue;
    sources.count(pair.source);
    targets.count(pair.target);
    corpus.train.push_back(std::move(pair));
  }
  const std::int64_t held_out = std::max<std::int64_t>(1, pairs / 20);
  while (std::ssize(corpus.test) < held_out) {
    SentencePair pair = draw_pair(draws);
    if (!sources.know(pair.source) || !targets.know(pair.target)) continue;
    if (!seen.insert(pair.source).second) continue;
    (std::ssize(corpus.valid) < held_out ? corpus.valid : corpus.test).push_back(std::move(pair));
  }
  return corpus;
}

void write_number_corpus(const NumberCorpus& corpus, const std::filesystem::path& folder,
                         bool force) {
  write_made_corpus(corpus, folder, {"numbers", "en", "fr"}, force);
}

}  // namespace th::data
