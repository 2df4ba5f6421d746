#include "th/data/made/record_corpus.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "data/made/record_document.hpp"
#include "th/base/error.hpp"
#include "th/data/text.hpp"

namespace th::data {
namespace {

std::vector<std::string> words(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

bool has(const std::string& line, const std::string& phrase) {
  return (" " + line + " ").find(" " + phrase + " ") != std::string::npos;
}

const Record kRecord{{"340 bales", "linen", "otto brandt", "ardenne", "1887"}};

TEST(RecordHeadline, HasTheFieldsInItsOwnOrder) {
  EXPECT_EQ(headline(kRecord, kAllFields), "340 bales of linen for otto brandt at ardenne in 1887");
  EXPECT_EQ(headline(kRecord, {false, true, false, false, true}), "of linen in 1887");
  EXPECT_EQ(headline(kRecord, {true, false, false, false, false}), "340 bales");
  EXPECT_EQ(headline(kRecord, {}), "no news");
}

TEST(RecordWords, AreOfOneFieldAlone) {
  std::map<std::string, int> fields;
  const auto add = [&](const auto& values, int field) {
    for (const char* value : values) {
      EXPECT_TRUE(fields.emplace(value, field).second) << value;
    }
  };
  add(kUnits, kAmount);
  add(kProducts, kProduct);
  add(kFirstNames, kBuyer);
  add(kLastNames, kBuyer);
  add(kPlaces, kPlace);
  const auto look = [&](const char* sentence) {
    for (const std::string& word : words(sentence)) EXPECT_FALSE(fields.contains(word)) << word;
  };
  for (const char* sentence : kPlainSentences) look(sentence);
  for (const auto& sentences : kFactSentences)
    for (const char* sentence : sentences) look(sentence);
  for (const auto& sentences : kOtherSentences)
    for (const char* sentence : sentences) look(sentence);
}

TEST(RecordSentences, AreNoLongerThanChunksOverlap) {
  // Amounts and names have two words, which takes the place of one {}.
  for (std::size_t field = 0; field < kFactSentences.size(); ++field) {
    const int more = field == kAmount || field == kBuyer ? 1 : 0;
    for (const char* sentence : kFactSentences[field])
      EXPECT_LE(std::ssize(words(sentence)) + more, kLongestSentence) << sentence;
  }
}

TEST(RecordDocument, StatesEachFieldInItsFifth) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    for (const std::int64_t length : {48, 63, 252, 504}) {
      Draws draws(seed);
      const RecordDocument document(kRecord, length, draws);
      EXPECT_LE(document.size(), length);
      EXPECT_GE(document.size(), length - kLongestSentence);
      EXPECT_EQ(document.fields(0, document.size()), kAllFields);
      const std::string text = document.text(0, document.size());
      EXPECT_EQ(std::ssize(words(text)), document.size());
      EXPECT_TRUE(text.ends_with(" ."));
      for (const std::string& value : kRecord.values) EXPECT_TRUE(has(text, value)) << text;
      if (length < 252) continue;
      for (std::int64_t fifth = 0; fifth < 5; ++fifth) {
        const FieldSet there = document.fields(fifth * length / 5, length / 5 + kLongestSentence);
        EXPECT_TRUE(std::find(there.begin(), there.end(), true) != there.end()) << fifth;
      }
    }
  }
}

TEST(RecordDocument, FieldNeedsItsWholeSentence) {
  Draws draws(3);
  const RecordDocument document(kRecord, 252, draws);
  for (std::int64_t begin = 0; begin < document.size(); ++begin) {
    const std::int64_t count = std::min<std::int64_t>(20, document.size() - begin);
    const FieldSet there = document.fields(begin, count);
    const std::string text = document.text(begin, count);
    for (std::size_t field = 0; field < there.size(); ++field) {
      EXPECT_TRUE(!there[field] || has(text, kRecord.values[field])) << text;
    }
    EXPECT_EQ(document.fields(begin, 1), FieldSet());
  }
}

TEST(RecordDocument, OrderIsNotThatOfHeadlines) {
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    Draws draws(seed);
    const RecordDocument document(kRecord, 504, draws);
    std::vector<std::int64_t> ends;
    for (std::size_t field = 0; field < kAllFields.size(); ++field) {
      std::int64_t count = 1;
      while (!document.fields(0, count)[field]) ++count;
      ends.push_back(count);
    }
    EXPECT_FALSE(std::is_sorted(ends.begin(), ends.end())) << seed;
  }
}

TEST(RecordCorpus, SameArgumentsGiveTheSameCorpus) {
  const auto text = [](const MadeCorpus& corpus) {
    std::string all;
    for (const auto* part : {&corpus.train, &corpus.valid, &corpus.test})
      for (const SentencePair& pair : *part) all += pair.source + "\t" + pair.target + "\n";
    return all;
  };
  EXPECT_EQ(text(make_record_corpus(300, 7, 1)), text(make_record_corpus(300, 7, 1)));
  EXPECT_NE(text(make_record_corpus(300, 7, 1)), text(make_record_corpus(300, 8, 1)));
}

TEST(RecordCorpus, TrainingPartIsThatOfEachNumberOfWindows) {
  const MadeCorpus one = make_record_corpus(300, 5, 1), eight = make_record_corpus(300, 5, 8);
  ASSERT_EQ(one.train.size(), eight.train.size());
  for (std::size_t i = 0; i < one.train.size(); ++i) {
    EXPECT_EQ(one.train[i].source, eight.train[i].source);
    EXPECT_EQ(one.train[i].target, eight.train[i].target);
  }
}

/// A headline with all fields.
bool whole(const std::string& headline) { return words(headline).size() == 11; }

TEST(RecordCorpus, HeldOutRecordsAreNotInTrainingAndTheirWordsAre) {
  const MadeCorpus corpus = make_record_corpus(2000, 3, 2);
  ASSERT_EQ(corpus.train.size(), 2000U);
  ASSERT_EQ(corpus.valid.size(), 100U);
  ASSERT_EQ(corpus.test.size(), 100U);
  std::set<std::string> headlines, sources;
  std::map<std::string, int> counts;
  for (const SentencePair& pair : corpus.train) {
    headlines.insert(pair.target);
    EXPECT_TRUE(sources.insert(pair.source).second) << pair.source;
    for (const std::string& word : words(pair.target)) ++counts[word];
  }
  for (const auto* part : {&corpus.valid, &corpus.test}) {
    for (const SentencePair& pair : *part) {
      EXPECT_TRUE(whole(pair.target)) << pair.target;
      EXPECT_TRUE(headlines.insert(pair.target).second) << "a record of before: " << pair.target;
      EXPECT_TRUE(sources.insert(pair.source).second) << pair.source;
      for (const std::string& word : words(pair.target)) EXPECT_GE(counts[word], 2) << word;
    }
  }
}

TEST(RecordCorpus, TrainingHasWholeDocumentsPartsAndJoinedHeadlinesInOneWindow) {
  const MadeCorpus corpus = make_record_corpus(4000, 11, 1);
  int parts = 0, joined = 0, nothing = 0;
  for (const SentencePair& pair : corpus.train) {
    EXPECT_LE(std::ssize(words(pair.source)), kRecordWindow);
    const bool headlines = pair.source.find(" .") == std::string::npos;
    EXPECT_TRUE(!headlines || whole(pair.target)) << pair.source << "\n" << pair.target;
    joined += headlines ? 1 : 0;
    parts += whole(pair.target) ? 0 : 1;
    nothing += pair.target == "no news" ? 1 : 0;
    if (pair.target == "no news") continue;
    for (const std::string& word : words(pair.target)) {
      const bool value = word != "of" && word != "for" && word != "at" && word != "in";
      EXPECT_TRUE(!value || has(pair.source, word)) << pair.source << "\n" << pair.target;
    }
  }
  EXPECT_NEAR(joined, 1000, 150);
  EXPECT_NEAR(parts, 1000, 150);
  EXPECT_GT(nothing, 50);
  EXPECT_LT(nothing, parts);
}

TEST(RecordCorpus, HeldOutDocumentsHaveTheWindowsThatAreAskedFor) {
  for (const std::int64_t windows : {1, 4, 8}) {
    const MadeCorpus corpus = make_record_corpus(200, 2, windows);
    for (const SentencePair& pair : corpus.test) {
      const auto size = std::ssize(words(pair.source));
      EXPECT_LE(size, windows * kRecordWindow);
      EXPECT_GT(size, (windows - 1) * kRecordWindow + (windows == 1 ? 35 : 50));
    }
  }
}

TEST(RecordCorpus, WrongNumbersAreRefused) {
  EXPECT_THROW((void)make_record_corpus(99, 1, 1), DeckError);
  EXPECT_THROW((void)make_record_corpus(500001, 1, 1), DeckError);
  EXPECT_THROW((void)make_record_corpus(100, 1, 0), DeckError);
  EXPECT_THROW((void)make_record_corpus(100, 1, 9), DeckError);
}

TEST(RecordCorpus, WritesSixFiles) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "th_record_corpus";
  std::filesystem::remove_all(folder);
  const MadeCorpus corpus = make_record_corpus(100, 3, 1);
  write_record_corpus(corpus, folder);
  for (const char* part : {"train", "valid", "test"}) {
    const std::size_t lines = std::string(part) == "train" ? 100 : 5;
    for (const char* side : {"source", "target"})
      EXPECT_EQ(
          read_text((folder / ("records." + std::string(part) + "." + side)).string()).lines.size(),
          lines);
  }
  EXPECT_EQ(read_text((folder / "records.test.source").string()).lines[0], corpus.test[0].source);
  std::filesystem::remove_all(folder);
}

/// Draws are hashes and lists are constants, so these lines are the same on every machine.
TEST(RecordCorpus, FirstPairOfSeedOne) {
  const MadeCorpus corpus = make_record_corpus(100, 1, 1);
  EXPECT_EQ(corpus.train[0].source,
            "a letter arrived too late . at the gate of ludlow the seals were broken . the price "
            "had gone up again . the list spoke of 890 sacks . the load was paper . the year was "
            "1878 . it was clara sievers who had asked for it .");
  EXPECT_EQ(corpus.train[0].target, "890 sacks of paper for clara sievers at ludlow in 1878");
}

}  // namespace
}  // namespace th::data
