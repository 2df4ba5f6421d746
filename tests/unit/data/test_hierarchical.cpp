#include "th/data/summary/hierarchical.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "th/base/error.hpp"
#include "th/data/tokenizer/special_ids.hpp"

// Hierarchical summaries with summarizers that are not models.
namespace th::data {
namespace {

using Ids = std::vector<std::int32_t>;
using config::SummaryWindow;

/// Words are numbers, and their ids follow the special ones.
class NumberTokenizer : public Tokenizer {
 public:
  [[nodiscard]] Ids encode(std::string_view line) const override {
    std::istringstream in{std::string(line)};
    Ids ids;
    for (std::int32_t number = 0; in >> number;) ids.push_back(number + kEnd + 1);
    return ids;
  }
  [[nodiscard]] Ids sample(std::string_view line, double, std::uint64_t) const override {
    return encode(line);
  }
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    for (const std::int32_t id : ids) {
      if (id == kEnd) break;
      text += (text.empty() ? "" : " ") + std::to_string(id - kEnd - 1);
    }
    return text;
  }
  [[nodiscard]] config::TokenizerKind kind() const noexcept override {
    return config::TokenizerKind::kWord;
  }
  [[nodiscard]] const std::vector<std::string>& tokens() const noexcept override { return none_; }
  [[nodiscard]] const std::string& model() const noexcept override { return bytes_; }

 private:
  std::vector<std::string> none_;
  std::string bytes_;
};

/// 0, 1, 2, … and the end: `length` ids in all.
Ids document(std::int64_t length, std::int32_t first = 0) {
  Ids ids(static_cast<std::size_t>(length - 1));
  std::iota(ids.begin(), ids.end(), first + kEnd + 1);
  ids.push_back(kEnd);
  return ids;
}

/// The numbers of a source.
std::vector<int> numbers(const Ids& source) {
  EXPECT_FALSE(source.empty());
  EXPECT_EQ(source.back(), kEnd);
  std::vector<int> out;
  for (const std::int32_t id : Ids(source.begin(), source.end() - 1)) {
    EXPECT_NE(id, kEnd) << "an end within a source";
    out.push_back(id - kEnd - 1);
  }
  return out;
}

/// Summarizes by rule, and keeps what it was asked.
class Fake {
 public:
  explicit Fake(std::function<bool(int)> keeps) : keeps_(std::move(keeps)) {}
  [[nodiscard]] Summarize function() {
    return [this](const Sources& sources) {
      rounds.push_back(sources.ids);
      numbers_of_rounds.push_back(sources.numbers);
      std::vector<std::string> texts;
      for (const Ids& source : sources.ids) {
        std::string text;
        for (const int number : numbers(source))
          if (keeps_(number)) text += (text.empty() ? "" : " ") + std::to_string(number);
        texts.push_back(text);
      }
      return std::optional(texts);
    };
  }
  std::vector<std::vector<Ids>> rounds;
  std::vector<std::vector<std::uint64_t>> numbers_of_rounds;

 private:
  std::function<bool(int)> keeps_;
};

/// Numbered 100, 101, …
Sources documents(std::vector<Ids> ids) {
  Sources all{std::move(ids), {}};
  for (std::size_t d = 0; d < all.ids.size(); ++d) all.numbers.push_back(100 + d);
  return all;
}

TEST(Chunks, DocumentOfTheWindowIsOnePiece) {
  const SummaryWindow window{10, 6, 2};
  for (const std::int64_t length : {1, 2, 6, 7, 10})
    EXPECT_EQ(chunks_of(document(length), window), std::vector<Ids>{document(length)}) << length;
  EXPECT_GT(chunks_of(document(11), window).size(), 1U);
}

TEST(Chunks, HaveTheChunksIdsWithTheirEndAndShareTheOverlap) {
  // 12 words in chunks of 5, of which 2 are shared.
  const std::vector<Ids> chunks = chunks_of(document(13), {10, 6, 2});
  ASSERT_EQ(chunks.size(), 4U);
  EXPECT_EQ(numbers(chunks[0]), (std::vector<int>{0, 1, 2, 3, 4}));
  EXPECT_EQ(numbers(chunks[1]), (std::vector<int>{3, 4, 5, 6, 7}));
  EXPECT_EQ(numbers(chunks[2]), (std::vector<int>{6, 7, 8, 9, 10}));
  EXPECT_EQ(numbers(chunks[3]), (std::vector<int>{9, 10, 11}));
}

TEST(Chunks, LastOneEndsWithTheDocumentAndIsNotWithinTheOneBefore) {
  // 11 words: the third chunk ends with them, and no fourth repeats its overlap.
  const std::vector<Ids> chunks = chunks_of(document(12), {10, 6, 2});
  ASSERT_EQ(chunks.size(), 3U);
  EXPECT_EQ(numbers(chunks[2]), (std::vector<int>{6, 7, 8, 9, 10}));
}

TEST(Chunks, CoverEachWordAtEveryLengthChunkAndOverlap) {
  for (std::int64_t chunk = 2; chunk <= 9; ++chunk) {
    for (std::int64_t overlap = 0; overlap <= chunk - 2; ++overlap) {
      for (std::int64_t length = 10; length <= 40; ++length) {
        const SummaryWindow window{9, chunk, overlap};
        const std::vector<Ids> chunks = chunks_of(document(length), window);
        std::vector<int> all;
        for (std::size_t c = 0; c < chunks.size(); ++c) {
          std::vector<int> words = numbers(chunks[c]);
          ASSERT_LE(std::ssize(chunks[c]), chunk);
          if (c > 0) {
            ASSERT_GT(std::ssize(words), overlap) << "a chunk without a new word";
            for (std::int64_t i = 0; i < overlap; ++i)
              ASSERT_EQ(words[static_cast<std::size_t>(i)],
                        all[all.size() - static_cast<std::size_t>(overlap - i)]);
            words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(overlap));
          }
          all.insert(all.end(), words.begin(), words.end());
        }
        std::vector<int> expected(static_cast<std::size_t>(length - 1));
        std::iota(expected.begin(), expected.end(), 0);
        ASSERT_EQ(all, expected) << "chunk " << chunk << " overlap " << overlap;
      }
    }
  }
}

TEST(Chunks, ThatDoNotComeForwardAreRefused) {
  EXPECT_THROW((void)chunks_of(document(11), {10, 6, 5}), InternalError);
  EXPECT_THROW((void)chunks_of(document(11), {10, 6, -1}), InternalError);
  EXPECT_THROW((void)chunks_of(document(11), {10, 11, 2}), InternalError);
}

TEST(Summaries, DocumentsThatFitAreSummarizedAtOnceAsTheyAre) {
  Fake fake([](int number) { return number % 2 == 0; });
  const std::vector<Ids> all{document(5), {}, document(10), document(1)};
  const auto texts =
      summarize_documents(documents(all), {10, 6, 2}, NumberTokenizer(), fake.function());
  ASSERT_TRUE(texts);
  EXPECT_EQ(*texts, (std::vector<std::string>{"0 2", "", "0 2 4 6 8", ""}));
  ASSERT_EQ(fake.rounds.size(), 1U);
  EXPECT_EQ(fake.rounds[0], (std::vector<Ids>{all[0], all[2], all[3]}));
  EXPECT_EQ(fake.numbers_of_rounds[0], (std::vector<std::uint64_t>{100, 102, 103}));
}

TEST(Summaries, LongDocumentIsTheSummaryOfItsChunksSummaries) {
  // 12 words: 0 and 10 are kept. The second round sees both, and the short document no more.
  Fake fake([](int number) { return number % 10 == 0; });
  const auto texts = summarize_documents(documents({document(13), document(4)}), {10, 6, 2},
                                         NumberTokenizer(), fake.function());
  ASSERT_TRUE(texts);
  EXPECT_EQ(*texts, (std::vector<std::string>{"0 10 10", "0"}));
  ASSERT_EQ(fake.rounds.size(), 2U);
  EXPECT_EQ(fake.rounds[0].size(), 5U);
  ASSERT_EQ(fake.rounds[1].size(), 1U);
  EXPECT_EQ(numbers(fake.rounds[1][0]), (std::vector<int>{0, 10, 10}))
      << "10 stands in the overlap of the last two chunks; empty summaries leave no space";
}

TEST(Summaries, GoOnUntilTheyFit) {
  // Every second, fourth, … word: 200 words need rounds.
  Fake fake([](int number) { return number % 4 == 0; });
  const auto texts = summarize_documents(documents({document(201)}), {10, 10, 1}, NumberTokenizer(),
                                         fake.function());
  ASSERT_TRUE(texts);
  ASSERT_GE(fake.rounds.size(), 3U);
  for (const std::vector<Ids>& round : fake.rounds)
    for (const Ids& source : round) EXPECT_LE(std::ssize(source), 10);
  EXPECT_EQ(fake.rounds.back().size(), 1U) << "the last round has one piece";
}

TEST(Summaries, EndWhereChunksDoNotBecomeShorter) {
  Fake keeps_all([](int) { return true; });
  const auto texts = summarize_documents(documents({document(31)}), {10, 6, 2}, NumberTokenizer(),
                                         keeps_all.function());
  ASSERT_TRUE(texts);
  ASSERT_EQ(keeps_all.rounds.size(), 2U);
  EXPECT_EQ(*texts, (std::vector<std::string>{"0 1 2 3 4 3 4 5 6"}))
      << "the window's beginning of the joined summaries";
}

TEST(Summaries, WithoutAWordAreNoDocument) {
  Fake keeps_none([](int) { return false; });
  const auto texts = summarize_documents(documents({document(31)}), {10, 6, 2}, NumberTokenizer(),
                                         keeps_none.function());
  ASSERT_TRUE(texts);
  EXPECT_EQ(*texts, (std::vector<std::string>{""}));
  EXPECT_EQ(keeps_none.rounds.size(), 1U);
}

TEST(Summaries, OfADocumentDoNotDependOnTheOthers) {
  const auto rule = [](int number) { return number % 7 == 0; };
  Sources all;
  for (const std::int64_t length : {70, 4, 11, 25, 10, 140}) {
    all.ids.push_back(document(length, static_cast<std::int32_t>(length)));
    all.numbers.push_back(static_cast<std::uint64_t>(length));
  }
  Fake together(rule);
  const SummaryWindow window{10, 7, 2};
  const auto texts = summarize_documents(all, window, NumberTokenizer(), together.function());
  ASSERT_TRUE(texts);
  std::multiset<std::uint64_t> numbers_together, numbers_alone;
  for (const auto& round : together.numbers_of_rounds)
    numbers_together.insert(round.begin(), round.end());
  for (std::size_t d = 0; d < all.ids.size(); ++d) {
    Fake alone(rule);
    const auto text = summarize_documents({{all.ids[d]}, {all.numbers[d]}}, window,
                                          NumberTokenizer(), alone.function());
    ASSERT_TRUE(text);
    EXPECT_EQ(text->front(), (*texts)[d]) << d;
    for (const auto& round : alone.numbers_of_rounds)
      numbers_alone.insert(round.begin(), round.end());
  }
  EXPECT_EQ(numbers_together, numbers_alone);
  EXPECT_EQ(std::set<std::uint64_t>(numbers_alone.begin(), numbers_alone.end()).size(),
            numbers_alone.size())
      << "each piece of each round has a number of its own";
}

TEST(Summaries, StopWhereTheSummarizerStops) {
  int calls = 0;
  const auto texts =
      summarize_documents(documents({document(31)}), {10, 6, 2}, NumberTokenizer(),
                          [&](const Sources& sources) -> std::optional<std::vector<std::string>> {
                            if (++calls == 2) return std::nullopt;
                            return std::vector<std::string>(sources.ids.size(), "1");
                          });
  EXPECT_FALSE(texts);
  EXPECT_EQ(calls, 2);
}

TEST(Summaries, OfAnotherNumberAreAMistake) {
  EXPECT_THROW((void)summarize_documents(
                   documents({document(31)}), {10, 6, 2}, NumberTokenizer(),
                   [](const Sources&) { return std::optional(std::vector<std::string>(1, "1")); }),
               InternalError);
}

}  // namespace
}  // namespace th::data
