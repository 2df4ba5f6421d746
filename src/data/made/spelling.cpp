#include <array>

#include "th/base/error.hpp"
#include "th/data/made/number_corpus.hpp"

namespace th::data {
namespace {

constexpr std::array<const char*, 20> kEnglishUnits = {
    "zero",     "one",     "two",     "three",     "four",     "five",    "six",
    "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",  "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"};
constexpr std::array<const char*, 10> kEnglishTens = {
    "", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"};
constexpr std::array<const char*, 17> kFrenchUnits = {
    "zéro", "un",  "deux", "trois", "quatre", "cinq",     "six",    "sept", "huit",
    "neuf", "dix", "onze", "douze", "treize", "quatorze", "quinze", "seize"};
constexpr std::array<const char*, 7> kFrenchTens = {"",         "",          "vingt",   "trente",
                                                    "quarante", "cinquante", "soixante"};
constexpr std::array<const char*, 32> kEnglishDays = {"",
                                                      "first",
                                                      "second",
                                                      "third",
                                                      "fourth",
                                                      "fifth",
                                                      "sixth",
                                                      "seventh",
                                                      "eighth",
                                                      "ninth",
                                                      "tenth",
                                                      "eleventh",
                                                      "twelfth",
                                                      "thirteenth",
                                                      "fourteenth",
                                                      "fifteenth",
                                                      "sixteenth",
                                                      "seventeenth",
                                                      "eighteenth",
                                                      "nineteenth",
                                                      "twentieth",
                                                      "twenty-first",
                                                      "twenty-second",
                                                      "twenty-third",
                                                      "twenty-fourth",
                                                      "twenty-fifth",
                                                      "twenty-sixth",
                                                      "twenty-seventh",
                                                      "twenty-eighth",
                                                      "twenty-ninth",
                                                      "thirtieth",
                                                      "thirty-first"};
constexpr std::array<const char*, 13> kEnglishMonths = {
    "",     "january", "february",  "march",   "april",    "may",     "june",
    "july", "august",  "september", "october", "november", "december"};
constexpr std::array<const char*, 13> kFrenchMonths = {
    "",        "janvier", "février",   "mars",    "avril",    "mai",     "juin",
    "juillet", "août",    "septembre", "octobre", "novembre", "décembre"};
constexpr std::array<const char*, 7> kEnglishWeekdays = {
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"};
constexpr std::array<const char*, 7> kFrenchWeekdays = {"lundi",    "mardi",  "mercredi", "jeudi",
                                                        "vendredi", "samedi", "dimanche"};
constexpr std::array<int, 13> kMonthDays = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

std::string word(const char* text) { return text; }

std::string english_below_hundred(std::int64_t n) {
  if (n < 20) return kEnglishUnits[static_cast<std::size_t>(n)];
  const std::string tens = kEnglishTens[static_cast<std::size_t>(n / 10)];
  return n % 10 == 0 ? tens : tens + "-" + kEnglishUnits[static_cast<std::size_t>(n % 10)];
}

std::string english_below_thousand(std::int64_t n) {
  if (n < 100) return english_below_hundred(n);
  const std::string hundreds = word(kEnglishUnits[static_cast<std::size_t>(n / 100)]) + " hundred";
  return n % 100 == 0 ? hundreds : hundreds + " and " + english_below_hundred(n % 100);
}

/// `plural`: a closing `vingt` or `cent` that is multiplied takes its s (not before mille, not in
/// an ordinal sense).
std::string french_below_hundred(std::int64_t n, bool plural) {
  if (n < 17) return kFrenchUnits[static_cast<std::size_t>(n)];
  if (n < 20) return word("dix-") + kFrenchUnits[static_cast<std::size_t>(n - 10)];
  if (n >= 80) {
    if (n == 80) return plural ? "quatre-vingts" : "quatre-vingt";
    return "quatre-vingt-" + french_below_hundred(n - 80, false);
  }
  const std::int64_t base = n >= 60 ? 60 : n / 10 * 10;
  const std::int64_t rest = n - base;
  const std::string tens = kFrenchTens[static_cast<std::size_t>(base / 10)];
  if (rest == 0) return tens;
  if (rest == 1 || rest == 11) return tens + " et " + kFrenchUnits[static_cast<std::size_t>(rest)];
  return tens + "-" + french_below_hundred(rest, false);
}

std::string french_below_thousand(std::int64_t n, bool plural) {
  if (n < 100) return french_below_hundred(n, plural);
  const std::int64_t hundreds = n / 100;
  const std::int64_t rest = n % 100;
  std::string text = hundreds == 1
                         ? word("cent")
                         : word(kFrenchUnits[static_cast<std::size_t>(hundreds)]) + " cent";
  if (rest == 0) return hundreds > 1 && plural ? text + "s" : text;
  return text + " " + french_below_hundred(rest, plural);
}

std::string french_cardinal(std::int64_t n, bool plural) {
  if (n < 1000) return french_below_thousand(n, plural);
  std::string text = n < 2000 ? word("mille") : french_below_thousand(n / 1000, false) + " mille";
  return n % 1000 == 0 ? text : text + " " + french_below_thousand(n % 1000, plural);
}

void check_number(std::int64_t number) {
  if (number < 0 || number > kLargestNumber)
    throw DataError("number corpus: " + std::to_string(number) +
                    " can't be spelled out; numbers go from 0 to 999999");
}

std::string english_year(int year) {
  const int century = year / 100;
  const int rest = year % 100;
  if (century == 20 && rest < 10) return english_number(year);
  const std::string head = english_below_hundred(century);
  if (rest == 0) return head + " hundred";
  return rest < 10 ? head + " oh " + english_below_hundred(rest)
                   : head + " " + english_below_hundred(rest);
}

/// Hours and minutes are feminine: a closing `un` becomes `une`.
std::string feminine(std::string number) {
  if (number == "un" || number.ends_with(" un") || number.ends_with("-un")) number += "e";
  return number;
}

std::string english_minutes(int minutes) {
  if (minutes == 15) return "a quarter";
  if (minutes == 30) return "half";
  const std::string text = english_below_hundred(minutes);
  if (minutes % 5 == 0) return text;
  return text + (minutes == 1 ? " minute" : " minutes");
}

std::string french_hour(int hour) {
  if (hour == 0) return "minuit";
  if (hour == 12) return "midi";
  const int shown = hour % 12;
  return feminine(french_below_hundred(shown, false)) + (shown == 1 ? " heure" : " heures");
}

struct DayPart {
  const char* english;
  const char* french;
};

DayPart day_part_of(int hour) {
  if (hour < 12) return {" in the morning", " du matin"};
  if (hour < 18) return {" in the afternoon", " de l'après-midi"};
  return {" in the evening", " du soir"};
}

}  // namespace

std::string english_number(std::int64_t number) {
  check_number(number);
  if (number < 1000) return english_below_thousand(number);
  const std::string head = english_below_thousand(number / 1000) + " thousand";
  const std::int64_t rest = number % 1000;
  if (rest == 0) return head;
  return head + (rest < 100 ? " and " : " ") + english_below_thousand(rest);
}

std::string french_number(std::int64_t number) {
  check_number(number);
  return french_cardinal(number, true);
}

SentencePair spell_date(const Date& date) {
  const bool leap_missing =
      date.year != 0 && (date.year % 4 != 0 || (date.year % 100 == 0 && date.year % 400 != 0));
  if (date.month < 1 || date.month > 12 || date.day < 1 ||
      date.day > kMonthDays[static_cast<std::size_t>(date.month)] ||
      (leap_missing && date.month == 2 && date.day == 29) || date.weekday < -1 ||
      date.weekday > 6 || (date.year != 0 && (date.year < 1100 || date.year > 2099)))
    throw DataError("number corpus: day " + std::to_string(date.day) + ", month " +
                    std::to_string(date.month) + ", year " + std::to_string(date.year) +
                    ", weekday " + std::to_string(date.weekday) +
                    " is no date between 1100 and 2099");
  SentencePair pair;
  pair.target.append("le ");
  if (date.weekday >= 0) {
    pair.source.append(kEnglishWeekdays[static_cast<std::size_t>(date.weekday)]).append(" ");
    pair.target.append(kFrenchWeekdays[static_cast<std::size_t>(date.weekday)]).append(" ");
  }
  pair.source += word("the ") + kEnglishDays[static_cast<std::size_t>(date.day)] + " of " +
                 kEnglishMonths[static_cast<std::size_t>(date.month)];
  pair.target += (date.day == 1 ? "premier" : french_below_hundred(date.day, false)) + " " +
                 kFrenchMonths[static_cast<std::size_t>(date.month)];
  if (date.year != 0) {
    pair.source.append(" ").append(english_year(date.year));
    pair.target.append(" ").append(french_cardinal(date.year, false));
  }
  return pair;
}

SentencePair spell_time(const ClockTime& time) {
  if (time.hour < 0 || time.hour > 23 || time.minute < 0 || time.minute > 59)
    throw DataError("number corpus: hour " + std::to_string(time.hour) + ", minute " +
                    std::to_string(time.minute) + " is no time of a day");
  const bool before = time.minute > 30;
  const int hour = before ? (time.hour + 1) % 24 : time.hour;
  const int minutes = before ? 60 - time.minute : time.minute;
  const bool named = hour == 0 || hour == 12;
  SentencePair pair;
  if (time.frame == TimeFrame::kItIs) pair = {"it is ", "il est "};
  if (time.frame == TimeFrame::kAt) pair = {"at ", "à "};
  if (minutes != 0) pair.source += english_minutes(minutes) + (before ? " to " : " past ");
  pair.source += hour == 0    ? word("midnight")
                 : hour == 12 ? word("noon")
                              : english_below_hundred(hour % 12);
  if (minutes == 0 && !named) pair.source += " o'clock";
  pair.target += french_hour(hour);
  if (minutes == 15) {
    pair.target += before ? " moins le quart" : " et quart";
  } else if (minutes == 30) {
    pair.target += named ? " et demi" : " et demie";
  } else if (minutes != 0) {
    pair.target += (before ? " moins " : " ") + feminine(french_below_hundred(minutes, false));
  }
  if (time.day_part && !named) {
    pair.source += day_part_of(hour).english;
    pair.target += day_part_of(hour).french;
  }
  return pair;
}

}  // namespace th::data
