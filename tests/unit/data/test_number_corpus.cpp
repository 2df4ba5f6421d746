#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "th/base/error.hpp"
#include "th/data/made/number_corpus.hpp"
#include "th/data/text.hpp"

namespace th::data {
namespace {

TEST(Spelling, FrenchNumbers) {
  const std::vector<std::pair<std::int64_t, const char*>> table = {
      {0, "zéro"},
      {1, "un"},
      {16, "seize"},
      {17, "dix-sept"},
      {20, "vingt"},
      {21, "vingt et un"},
      {22, "vingt-deux"},
      {31, "trente et un"},
      {60, "soixante"},
      {61, "soixante et un"},
      {69, "soixante-neuf"},
      {70, "soixante-dix"},
      {71, "soixante et onze"},
      {72, "soixante-douze"},
      {77, "soixante-dix-sept"},
      {80, "quatre-vingts"},
      {81, "quatre-vingt-un"},
      {90, "quatre-vingt-dix"},
      {91, "quatre-vingt-onze"},
      {99, "quatre-vingt-dix-neuf"},
      {100, "cent"},
      {101, "cent un"},
      {180, "cent quatre-vingts"},
      {200, "deux cents"},
      {201, "deux cent un"},
      {280, "deux cent quatre-vingts"},
      {1000, "mille"},
      {1001, "mille un"},
      {1100, "mille cent"},
      {1200, "mille deux cents"},
      {2000, "deux mille"},
      {21000, "vingt et un mille"},
      {80000, "quatre-vingt mille"},
      {80080, "quatre-vingt mille quatre-vingts"},
      {200000, "deux cent mille"},
      {280000, "deux cent quatre-vingt mille"},
      {200200, "deux cent mille deux cents"},
      {999999, "neuf cent quatre-vingt-dix-neuf mille neuf cent quatre-vingt-dix-neuf"}};
  for (const auto& [number, text] : table) EXPECT_EQ(french_number(number), text) << number;
}

TEST(Spelling, EnglishNumbers) {
  EXPECT_EQ(english_number(0), "zero");
  EXPECT_EQ(english_number(21), "twenty-one");
  EXPECT_EQ(english_number(201), "two hundred and one");
  EXPECT_EQ(english_number(1001), "one thousand and one");
  EXPECT_EQ(english_number(1100), "one thousand one hundred");
  EXPECT_EQ(english_number(999999),
            "nine hundred and ninety-nine thousand nine hundred and ninety-nine");
}

TEST(Spelling, EveryNumberHasItsOwnWords) {
  std::set<std::string> french, english;
  for (std::int64_t n = 0; n < 20000; ++n) {
    EXPECT_TRUE(french.insert(french_number(n)).second) << n;
    EXPECT_TRUE(english.insert(english_number(n)).second) << n;
  }
}

TEST(Spelling, OutOfRange) {
  EXPECT_THROW(static_cast<void>(french_number(-1)), DataError);
  EXPECT_THROW(static_cast<void>(english_number(kLargestNumber + 1)), DataError);
  EXPECT_THROW(static_cast<void>(spell_date({31, 4, 0, -1})), DataError);
  EXPECT_THROW(static_cast<void>(spell_date({29, 2, 1900, -1})), DataError);
  EXPECT_NO_THROW(static_cast<void>(spell_date({29, 2, 2000, -1})));
  EXPECT_THROW(static_cast<void>(spell_time({24, 0, false, TimeFrame::kBare})), DataError);
}

TEST(Spelling, Dates) {
  const SentencePair first = spell_date({1, 5, 1980, -1});
  EXPECT_EQ(first.source, "the first of may nineteen eighty");
  EXPECT_EQ(first.target, "le premier mai mille neuf cent quatre-vingt");
  EXPECT_EQ(spell_date({21, 8, 1200, -1}).target, "le vingt et un août mille deux cent");
  const SentencePair weekday = spell_date({3, 2, 2005, 0});
  EXPECT_EQ(weekday.source, "monday the third of february two thousand and five");
  EXPECT_EQ(weekday.target, "le lundi trois février deux mille cinq");
  EXPECT_EQ(spell_date({9, 12, 1907, -1}).source, "the ninth of december nineteen oh seven");
}

TEST(Spelling, ClockTimes) {
  const auto french = [](int hour, int minute, bool part = false,
                         TimeFrame frame = TimeFrame::kBare) {
    return spell_time({hour, minute, part, frame}).target;
  };
  EXPECT_EQ(french(1, 0), "une heure");
  EXPECT_EQ(french(13, 21), "une heure vingt et une");
  EXPECT_EQ(french(14, 30), "deux heures et demie");
  EXPECT_EQ(french(12, 30), "midi et demi");
  EXPECT_EQ(french(11, 45), "midi moins le quart");
  EXPECT_EQ(french(23, 50), "minuit moins dix");
  EXPECT_EQ(french(8, 15, true, TimeFrame::kItIs), "il est huit heures et quart du matin");
  EXPECT_EQ(french(15, 59, true, TimeFrame::kAt), "à quatre heures moins une de l'après-midi");
  EXPECT_EQ(french(21, 0, true), "neuf heures du soir");
  EXPECT_EQ(spell_time({11, 45, true, TimeFrame::kBare}).source, "a quarter to noon");
  EXPECT_EQ(spell_time({15, 59, true, TimeFrame::kAt}).source,
            "at one minute to four in the afternoon");
  EXPECT_EQ(spell_time({9, 0, false, TimeFrame::kItIs}).source, "it is nine o'clock");
}

bool same(const std::vector<SentencePair>& a, const std::vector<SentencePair>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.source == y.source && x.target == y.target;
  });
}

TEST(NumberCorpus, DeterministicAndWithoutRepeats) {
  const NumberCorpus a = make_number_corpus(2000, 7);
  const NumberCorpus b = make_number_corpus(2000, 7);
  const NumberCorpus other = make_number_corpus(2000, 8);
  EXPECT_TRUE(same(a.train, b.train) && same(a.valid, b.valid) && same(a.test, b.test));
  EXPECT_FALSE(same(a.train, other.train));
  EXPECT_EQ(a.train.size(), 2000U);
  EXPECT_EQ(a.valid.size(), 100U);
  EXPECT_EQ(a.test.size(), 100U);
  std::set<std::string> sources;
  std::unordered_map<std::string, int> counts;
  for (const auto& pair : a.train)
    for (const std::string& line : {pair.source, pair.target})
      for (const auto word : split_words(line)) ++counts[std::string(word)];
  for (const auto* part : {&a.train, &a.valid, &a.test})
    for (const auto& pair : *part) {
      EXPECT_TRUE(sources.insert(pair.source).second) << pair.source;
      if (part == &a.train) continue;
      for (const std::string& line : {pair.source, pair.target})
        for (const auto word : split_words(line)) EXPECT_GE(counts[std::string(word)], 2) << word;
    }
  EXPECT_THROW(static_cast<void>(make_number_corpus(99, 1)), DeckError);
  EXPECT_THROW(static_cast<void>(make_number_corpus(500001, 1)), DeckError);
}

TEST(NumberCorpus, WritesReadableParallelFiles) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "th_numbers" / "deep";
  const NumberCorpus corpus = make_number_corpus(100, 3);
  write_number_corpus(corpus, folder);
  const TextFile source = read_text(folder / "numbers.train.en"),
                 target = read_text(folder / "numbers.train.fr");
  ASSERT_EQ(source.lines.size(), 100U);
  ASSERT_EQ(target.lines.size(), 100U);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(source.lines[i], corpus.train[i].source);
    EXPECT_EQ(target.lines[i], corpus.train[i].target);
  }
  EXPECT_EQ(read_text(folder / "numbers.test.fr").lines.size(), 5U);
  EXPECT_THROW(write_number_corpus(corpus, folder / "numbers.train.en" / "x"), DataError);
  std::filesystem::remove_all(folder.parent_path());
}

TEST(NumberCorpus, CommittedCorpusIsReproduced) {
  const std::filesystem::path folder = std::filesystem::path(TH_SOURCE_DIR) / "inputs" / "data";
  const NumberCorpus corpus = make_number_corpus(4000, 1);
  const std::vector<std::pair<std::string, const std::vector<SentencePair>*>> parts = {
      {"numbers.train", &corpus.train},
      {"numbers.valid", &corpus.valid},
      {"numbers.test", &corpus.test}};
  for (const auto& [stem, pairs] : parts) {
    const TextFile source = read_text(folder / (stem + ".en")),
                   target = read_text(folder / (stem + ".fr"));
    ASSERT_EQ(source.lines.size(), pairs->size());
    ASSERT_EQ(target.lines.size(), pairs->size());
    for (std::size_t i = 0; i < pairs->size(); ++i) {
      ASSERT_EQ(source.lines[i], (*pairs)[i].source);
      ASSERT_EQ(target.lines[i], (*pairs)[i].target);
    }
  }
}

}  // namespace
}  // namespace th::data
