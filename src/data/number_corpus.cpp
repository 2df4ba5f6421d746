#include "th/data/number_corpus.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"

namespace th::data {
namespace {

/// Counter-based draws: the k-th draw is a function of (seed, k) alone.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : key_(mix64(seed)) {}
  /// Uniform in [0, bound) up to a bias of bound / 2^32.
  std::int64_t below(std::int64_t bound) {
    const std::uint64_t high = hash_pair(key_, counter_++) >> 32;
    return static_cast<std::int64_t>((high * static_cast<std::uint64_t>(bound)) >> 32);
  }

 private:
  std::uint64_t key_;
  std::uint64_t counter_ = 0;
};

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

template <class Visit>
void for_each_word(std::string_view line, Visit visit) {
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(' '), line.size());
    visit(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
}

using Counts = std::unordered_map<std::string, std::int64_t>;

void count_words(const std::string& line, Counts& counts) {
  for_each_word(line, [&](std::string_view text) { ++counts[std::string(text)]; });
}

bool all_known(const std::string& line, const Counts& counts) {
  bool known = true;
  for_each_word(line, [&](std::string_view text) {
    const auto found = counts.find(std::string(text));
    known = known && found != counts.end() && found->second >= 2;
  });
  return known;
}

void write_lines(const std::filesystem::path& path, const std::vector<SentencePair>& pairs,
                 std::string SentencePair::*side) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (const SentencePair& pair : pairs) file << pair.*side << '\n';
  file.close();
  if (!file)
    throw DataError(path.string() +
                    ": can't be written; check that the folder is writable and the disk has room");
}

}  // namespace

NumberCorpus make_number_corpus(std::int64_t pairs, std::uint64_t seed) {
  if (pairs < 100 || pairs > 500000)
    throw DeckError("number corpus: " + std::to_string(pairs) + " pairs asked; give 100 to 500000");
  Draws draws(seed);
  NumberCorpus corpus;
  std::unordered_set<std::string> seen;
  Counts source_counts, target_counts;
  while (std::ssize(corpus.train) < pairs) {
    SentencePair pair = draw_pair(draws);
    if (!seen.insert(pair.source).second) continue;
    count_words(pair.source, source_counts);
    count_words(pair.target, target_counts);
    corpus.train.push_back(std::move(pair));
  }
  const std::int64_t held_out = std::max<std::int64_t>(1, pairs / 20);
  while (std::ssize(corpus.test) < held_out) {
    SentencePair pair = draw_pair(draws);
    if (!all_known(pair.source, source_counts) || !all_known(pair.target, target_counts)) continue;
    if (!seen.insert(pair.source).second) continue;
    (std::ssize(corpus.valid) < held_out ? corpus.valid : corpus.test).push_back(std::move(pair));
  }
  return corpus;
}

void write_number_corpus(const NumberCorpus& corpus, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw DataError(folder.string() + ": the output folder can't be made: " + error.message());
  const std::array<std::pair<const char*, const std::vector<SentencePair>*>, 3> parts = {
      {{"train", &corpus.train}, {"valid", &corpus.valid}, {"test", &corpus.test}}};
  for (const auto& [name, pairs] : parts) {
    write_lines(folder / (std::string("numbers.") + name + ".en"), *pairs, &SentencePair::source);
    write_lines(folder / (std::string("numbers.") + name + ".fr"), *pairs, &SentencePair::target);
  }
}

}  // namespace th::data
