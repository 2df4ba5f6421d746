// Model 1 against its formulas over whole tables, what a sentence's candidates are, and the file.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/data/shortlist/shortlist.hpp"
#include "th/data/tokenizer/special_ids.hpp"

namespace th::data {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr std::int64_t kSources = 20, kTargets = 30;

/// Pairs of ids from a hash: target words follow source words most of the time.
IdPairs made_pairs(std::int64_t count) {
  IdPairs pairs;
  for (std::int64_t p = 0; p < count; ++p) {
    const auto draw = [&](std::uint64_t place, std::uint64_t below) {
      return static_cast<std::int32_t>(hash_pair(static_cast<std::uint64_t>(p), place) % below);
    };
    Ids source, target;
    for (std::int32_t i = 0; i < 1 + draw(0, 6); ++i) {
      const std::int32_t word = 4 + draw(10 + static_cast<std::uint64_t>(i), 16);
      source.push_back(word);
      target.push_back(draw(30 + static_cast<std::uint64_t>(i), 4) != 0
                           ? word + 8
                           : 4 + draw(50 + static_cast<std::uint64_t>(i), 26));
    }
    source.push_back(kEnd);
    target.insert(target.begin(), kBegin);
    target.push_back(kEnd);
    pairs.add(source, target);
  }
  return pairs;
}

/// t(f | e) after some iterations, by the formulas of Brown et al. 1993 in fp64; e = 0 is the empty
/// word.
std::map<std::pair<int, int>, double> dense_model(const IdPairs& pairs, std::int64_t iterations) {
  std::map<std::pair<int, int>, double> t;
  bool first = true;
  for (std::int64_t i = 0; i < iterations; ++i, first = false) {
    std::map<std::pair<int, int>, double> counts;
    std::map<int, double> sums;
    for (std::int64_t p = 0; p < pairs.size(); ++p) {
      Ids words{0};
      const auto source = pairs.source(p);
      words.insert(words.end(), source.begin(), source.end());
      for (const std::int32_t f : pairs.target(p)) {
        double all = 0;
        for (const std::int32_t e : words) all += first ? 1.0 : t[{e, f}];
        for (const std::int32_t e : words) {
          const double part = (first ? 1.0 : t[{e, f}]) / all;
          counts[{e, f}] += part;
          sums[e] += part;
        }
      }
    }
    for (auto& [pair, count] : counts) count /= sums[pair.first];
    t = std::move(counts);
  }
  return t;
}

TEST(WordTranslations, AreThoseOfModel1OverTheWholeTable) {
  const IdPairs pairs = made_pairs(300);
  for (const std::int64_t iterations : {1, 2, 6}) {
    auto want = dense_model(pairs, iterations);
    const auto got = learn_translations(pairs, kSources, kTargets, iterations);
    ASSERT_EQ(std::ssize(got), kSources);
    std::int64_t found = 0;
    for (std::int32_t e = 4; e < kSources; ++e) {
      const auto& row = got[static_cast<std::size_t>(e)];
      double before = 2, sum = 0;
      for (const WordTranslation& t : row) {
        EXPECT_NEAR(static_cast<double>(t.probability), (want[{e, t.id}]), 1e-5)
            << e << " " << t.id;
        EXPECT_LE(static_cast<double>(t.probability), before);
        before = static_cast<double>(t.probability);
        sum += before;
        ++found;
      }
      EXPECT_NEAR(sum, 1, 1e-5);
      if (iterations == 6) {
        EXPECT_EQ(row.at(0).id, e + 8);
      }
    }
    EXPECT_GT(found, kSources);
    for (std::size_t e = 0; e < 4; ++e) EXPECT_TRUE(got[e].empty());
  }
}

TEST(WordTranslations, SpecialIdsAndEmptySidesCountNowhere) {
  IdPairs pairs;
  pairs.add(Ids{5, kUnknown, kEnd}, Ids{kBegin, 7, kEnd});
  pairs.add(Ids{kUnknown, kEnd}, Ids{kBegin, 8, kEnd});
  pairs.add(Ids{6, kEnd}, Ids{kBegin, kEnd});
  ASSERT_EQ(pairs.size(), 1);
  EXPECT_EQ(Ids(pairs.source(0).begin(), pairs.source(0).end()), Ids{5});
  EXPECT_EQ(Ids(pairs.target(0).begin(), pairs.target(0).end()), Ids{7});
}

std::shared_ptr<const Tokenizer> words(const std::string& list) {
  SavedTokenizer saved{{"<pad>", "<unk>", "<s>", "</s>"}, ""};
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find(' ', at), list.size());
    saved.tokens.push_back(list.substr(at, end - at));
    at = end + 1;
  }
  return restore_tokenizer(saved);
}

class ShortlistTest : public testing::Test {
 protected:
  // Ids 4, 5, … on both sides.
  TokenizerPair both{words("one two Paris"), words("un deux et le Paris trois")};
  Shortlist shortlist{{{7, 6}, {{}, {}, {}, {}, {4, 6}, {5}, {}}}, both};
  std::string path =
      (std::filesystem::path(testing::TempDir()) / ("th_shortlist_" + std::to_string(::getpid())))
          .string();

  void TearDown() override { std::filesystem::remove(path); }
  void write(const std::string& text) const { std::ofstream(path, std::ios::binary) << text; }
  /// What is said of a file with this text.
  [[nodiscard]] std::string fault_of(const std::string& text) const {
    write(text);
    try {
      (void)Shortlist::read(path, both, "runs/a");
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
  /// The text with its right checksum.
  [[nodiscard]] static std::string sealed(std::string text) {
    std::array<char, 32> seal{};
    std::snprintf(seal.data(), seal.size(), "crc32c %08x\n",
                  crc32c(std::as_bytes(std::span(text))));
    return text + seal.data();
  }
  [[nodiscard]] std::string body() const {
    const std::string text = shortlist.text();
    return text.substr(0, text.rfind("crc32c"));
  }
};

TEST_F(ShortlistTest, CandidatesAreSpecialFirstBestCopiedAndAskedForIds) {
  EXPECT_EQ(shortlist.candidates(Ids{kEnd}, {}), (Ids{kUnknown, kEnd, 6, 7}));
  EXPECT_EQ(shortlist.candidates(Ids{4, kEnd}, {}), (Ids{kUnknown, kEnd, 4, 6, 7}));
  EXPECT_EQ(shortlist.candidates(Ids{5, 5, 4, kEnd}, {}), (Ids{kUnknown, kEnd, 4, 5, 6, 7}));
  // "Paris" is id 6 of the source, 8 of the target.
  EXPECT_EQ(shortlist.candidates(Ids{6, kEnd}, {}), (Ids{kUnknown, kEnd, 6, 7, 8}));
  EXPECT_EQ(shortlist.candidates(Ids{kUnknown, kEnd}, Ids{9, 6}), (Ids{kUnknown, kEnd, 6, 7, 9}));
  const Shortlist joint({{}, {{}, {}, {}, {}, {5}, {}, {}}}, {both.source, both.source});
  EXPECT_EQ(joint.candidates(Ids{4, kEnd}, {}), (Ids{kUnknown, kEnd, 4, 5}));
}

TEST_F(ShortlistTest, ListsAreTheMostFrequentAndTheLikeliestIds) {
  IdPairs pairs;
  for (int i = 0; i < 5; ++i) pairs.add(Ids{4}, Ids{4});
  for (int i = 0; i < 3; ++i) pairs.add(Ids{5}, Ids{5, 7});
  pairs.add(Ids{5}, Ids{9});
  const ShortlistIds lists =
      learn_shortlist(pairs, both, {.first = 3, .best = 2, .threshold = 0.2});
  EXPECT_EQ(lists.first, (Ids{4, 5, 7}));
  ASSERT_EQ(std::ssize(lists.best), both.source->size());
  EXPECT_EQ(lists.best[4], Ids{4});
  EXPECT_EQ(lists.best[5], (Ids{5, 7}));
  EXPECT_TRUE(lists.best[6].empty());
}

TEST_F(ShortlistTest, AFileGivesTheSameLists) {
  write(shortlist.text());
  const Shortlist read = Shortlist::read(path, both, "runs/a");
  EXPECT_EQ(read.lists().first, shortlist.lists().first);
  EXPECT_EQ(read.lists().best, shortlist.lists().best);
  EXPECT_EQ(read.text(), shortlist.text());
}

TEST_F(ShortlistTest, AnotherVocabularyIsRefusedByName) {
  write(shortlist.text());
  for (const auto& [pair, side] :
       {std::pair{TokenizerPair{words("one two Rome"), both.target}, "source"},
        std::pair{TokenizerPair{both.source, words("deux un et le Paris trois")}, "target"},
        std::pair{TokenizerPair{words("one two"), both.target}, "source"}}) {
    try {
      (void)Shortlist::read(path, pair, "runs/a");
      ADD_FAILURE() << side;
    } catch (const DataError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find(std::string("another ") + side + " vocabulary"), std::string::npos)
          << text;
      EXPECT_NE(text.find("runs/a"), std::string::npos) << text;
    }
  }
}

TEST_F(ShortlistTest, AnyChangedOrMissingByteIsDamage) {
  const std::string text = shortlist.text();
  EXPECT_EQ(fault_of(text), "");
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] ^= 1;
    EXPECT_NE(fault_of(changed), "") << i;
    EXPECT_NE(fault_of(text.substr(0, i)), "") << i;
  }
  EXPECT_NE(fault_of("Le chat dort.\n").find("is no shortlist"), std::string::npos);
}

TEST_F(ShortlistTest, LinesThatAreNoneAreNamed) {
  EXPECT_EQ(fault_of(sealed(body())), "");
  const std::string format = "th_shortlist 2\n";
  EXPECT_NE(fault_of(sealed(format + body().substr(format.size()))).find("format 2"),
            std::string::npos);
  for (const std::string line :
       {"4\t5\n", "6\t3\n", "6\t10\n", "7\t4\n", "6\t4  5\n", "6 4\t5\n", "first 4\n", "\n"}) {
    const std::string fault = fault_of(sealed(body() + line));
    EXPECT_NE(fault.find(":7: is no line of a shortlist"), std::string::npos) << line << fault;
  }
}

}  // namespace
}  // namespace th::data
