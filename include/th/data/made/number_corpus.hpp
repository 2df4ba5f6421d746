#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "th/data/made/made_corpus.hpp"

namespace th::data {

/// The largest cardinal that is spelled out.
inline constexpr std::int64_t kLargestNumber = 999999;

/// A calendar date. `weekday` is 0 (Monday) to 6 (Sunday), or -1 if it is not spelled. `year` is
/// 1100 to 2099, or 0 if it is not spelled.
struct Date {
  int day = 1;
  int month = 1;
  int year = 0;
  int weekday = -1;
};

/// The words that surround a clock time.
enum class TimeFrame { kBare, kItIs, kAt };

/// A clock time. `hour` is 0 to 23; `day_part` says "in the morning" and so on (never at noon or
/// midnight).
struct ClockTime {
  int hour = 0;
  int minute = 0;
  bool day_part = false;
  TimeFrame frame = TimeFrame::kBare;
};

/// "two hundred and one", "deux cent un" for 0 to kLargestNumber. Throws DataError for other
/// numbers.
[[nodiscard]] std::string english_number(std::int64_t number);
[[nodiscard]] std::string french_number(std::int64_t number);

/// "the first of may nineteen eighty", "le premier mai mille neuf cent quatre-vingt": in a year
/// `cent` and `vingt` are ordinals and take no s. Throws DataError for a day, month, year or
/// weekday out of range.
[[nodiscard]] SentencePair spell_date(const Date& date);

/// "a quarter to noon", "midi moins le quart". Minutes past 30 count down to the hour that follows.
/// Throws DataError out of range.
[[nodiscard]] SentencePair spell_time(const ClockTime& time);

/// Sources are English, targets French.
using NumberCorpus = MadeCorpus;

/// Makes `pairs` training pairs and max(1, pairs / 20) pairs each for validation and test: 45 %
/// numbers, 30 % dates, 25 % clock times. The same seed gives the same corpus on every machine. An
/// English line has exactly one French one; every word of the held-out lines occurs at least twice
/// in the training lines. Throws DeckError unless 100 <= pairs <= 500000.
[[nodiscard]] NumberCorpus make_number_corpus(std::int64_t pairs, std::uint64_t seed);

/// Writes numbers.{train,valid,test}.{en,fr} into `folder`, as write_made_corpus() does.
void write_number_corpus(const NumberCorpus& corpus, const std::filesystem::path& folder,
                         bool force = false);

}  // namespace th::data
