// Minimum length, n-grams, forbidden sequences, prefixes and both length normalizations against
// searches that are spelled out over a small table.
#include <gtest/gtest.h>

#include "table_decoder.hpp"

#include <map>
#include <numeric>
#include <string>

namespace th::model {
namespace {

using test::continuations;
using test::Ids;
using test::LogitTable;
using test::score_of;
using test::search_table;

struct Rules {
  std::string name;
  SearchOptions options;
  Ids prefix = {};
};

/// Each rule alone, and all of them.
std::vector<Rules> all_rules() {
  using enum config::LengthNormalization;
  return {{"none", {}},
          {"power", {.length_normalization = kPower}},
          {"min_length", {.min_length = 2}},
          {"unigrams", {.no_repeat_ngram = 1}},
          {"bigrams", {.no_repeat_ngram = 2}},
          {"forbidden_id", {.forbidden = {{5}}}},
          {"forbidden_sequences", {.forbidden = {{5, 4}, {4, 4, 6}, {1}}}},
          {"prefix", {.min_length = 3}, {6, 4}},
          {"prefix_that_breaks_rules", {.no_repeat_ngram = 1, .forbidden = {{5}}}, {5, 5}},
          {"nothing_may_follow", {.min_length = 4, .no_repeat_ngram = 1, .forbidden = {{1}, {6}}}},
          {"all",
           {.length_normalization = kPower,
            .min_length = 2,
            .no_repeat_ngram = 2,
            .forbidden = {{1}, {4, 6}}},
           {4}}};
}

/// Every translation that the rules allow, with log p in fp64.
void enumerate(const LogitTable& table, std::uint64_t sentence, const Rules& rules, const Ids& ids,
               double log_prob, std::map<Ids, double>& out) {
  const std::vector<double> p = table.log_probabilities(sentence, ids);
  for (const std::int32_t id : continuations(ids, rules.options, rules.prefix, table.vocabulary)) {
    const double sum = log_prob + p[static_cast<std::size_t>(id)];
    if (id == data::kEnd) {
      out[ids] = sum;
      continue;
    }
    Ids longer = ids;
    longer.push_back(id);
    enumerate(table, sentence, rules, longer, sum, out);
  }
}

TEST(SearchRules, WideBeamsFindWhatAnExhaustiveSearchFinds) {
  const LogitTable table;  // four ids are text: 341 translations of up to four
  for (const Rules& rules : all_rules()) {
    SearchOptions options = rules.options;
    options.beam = options.best = 341;
    options.max_length = 4;
    options.length_penalty = 0.8;
    Rules bounded{rules.name, options, rules.prefix};
    const SentenceOptions sentence{0, rules.prefix};
    const std::vector<Hypothesis> all =
        search_table(table, {9}, options, std::span(&sentence, 1)).at(0);
    std::map<Ids, double> want;
    enumerate(table, 9, bounded, {}, 0, want);
    ASSERT_EQ(all.size(), want.size()) << rules.name;
    for (std::size_t i = 0; i < all.size(); ++i) {
      ASSERT_TRUE(want.contains(all[i].ids)) << rules.name;
      EXPECT_NEAR(all[i].log_prob, want.at(all[i].ids), 1e-5) << rules.name;  // fp32 sums of exp
      EXPECT_DOUBLE_EQ(all[i].score, score_of(all[i], options)) << rules.name;
      if (i > 0) {
        EXPECT_LE(all[i].score, all[i - 1].score) << rules.name;
      }
    }
    options.best = 1;
    const std::vector<Hypothesis> one =
        search_table(table, {9}, options, std::span(&sentence, 1)).at(0);
    ASSERT_EQ(one.size(), 1U);
    EXPECT_EQ(one[0].ids, all[0].ids) << rules.name;
  }
}

/// Beam search without early ends: all finished hypotheses, best first.
std::vector<Hypothesis> plain_search(const LogitTable& table, std::uint64_t sentence,
                                     const Rules& rules, std::int64_t& rows) {
  const SearchOptions& o = rules.options;
  std::vector<Hypothesis> live(1), finished;
  while (!live.empty() && (o.beam > 1 || finished.empty())) {
    rows += std::ssize(live);
    std::vector<Hypothesis> candidates;
    for (const Hypothesis& from : live) {
      const std::vector<double> p = table.log_probabilities(sentence, from.ids);
      for (const std::int32_t id : continuations(from.ids, o, rules.prefix, table.vocabulary)) {
        candidates.push_back({from.ids, from.log_prob + p[static_cast<std::size_t>(id)], 0});
        candidates.back().ids.push_back(id);
      }
    }
    std::stable_sort(
        candidates.begin(), candidates.end(),
        [](const Hypothesis& a, const Hypothesis& b) { return a.log_prob > b.log_prob; });
    live.clear();
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      Hypothesis& c = candidates[i];
      if (c.ids.back() != data::kEnd) {
        if (std::ssize(live) < o.beam) live.push_back(c);
        continue;
      }
      c.ids.pop_back();
      if (static_cast<std::int64_t>(i) >= o.beam && std::ssize(c.ids) < o.max_length) continue;
      c.score = score_of(c, o);
      finished.push_back(c);
    }
  }
  std::stable_sort(finished.begin(), finished.end(),
                   [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
  return finished;
}

TEST(SearchRules, NarrowBeamsWithEarlyEndsFindWhatAPlainSearchFinds) {
  const LogitTable table{8, 4.0, 0.5};
  std::int64_t rows = 0, plain_rows = 0;
  for (Rules rules : all_rules()) {
    SearchOptions& o = rules.options;
    o.max_length = 6;
    for (const std::int64_t beam : {1, 2, 3, 5}) {
      for (const double alpha : {0.0, 0.6, 1.0, 2.5}) {
        o.beam = beam;
        o.length_penalty = alpha;
        for (std::uint64_t sentence = 0; sentence < 12; ++sentence) {
          o.best = 1 + static_cast<std::int64_t>(sentence) % beam;
          const SentenceOptions of{0, rules.prefix};
          const auto got = search_table(table, {sentence}, o, std::span(&of, 1), &rows).at(0);
          const auto want = plain_search(table, sentence, rules, plain_rows);
          const std::string where =
              rules.name + " beam " + std::to_string(beam) + " alpha " + std::to_string(alpha);
          ASSERT_EQ(got.size(), std::min(want.size(), static_cast<std::size_t>(o.best))) << where;
          for (std::size_t h = 0; h < got.size(); ++h)
            EXPECT_EQ(got[h].ids, want[h].ids) << where << " hypothesis " << h;
        }
      }
    }
  }
  EXPECT_LT(rows, plain_rows / 10 * 9);  // else the test shows nothing about early ends
}

TEST(SearchRules, SentencesHavePrefixesOfTheirOwn) {
  const LogitTable table;
  const SearchOptions options{.beam = 3, .max_length = 5, .best = 3};
  const std::vector<SentenceOptions> of{{0, {4, 5, 6}}, {1, {}}, {2, {6}}};
  const std::vector<std::uint64_t> sentences{3, 4, 5};
  const auto together = search_table(table, sentences, options, of);
  for (std::size_t i = 0; i < sentences.size(); ++i) {
    const auto alone = search_table(table, {sentences[i]}, options, std::span(&of[i], 1)).at(0);
    ASSERT_EQ(together[i].size(), alone.size());
    for (std::size_t h = 0; h < alone.size(); ++h) {
      const Hypothesis& got = together[i][h];
      EXPECT_EQ(got.ids, alone[h].ids);
      EXPECT_EQ(got.log_prob, alone[h].log_prob);
      ASSERT_GE(got.ids.size(), of[i].prefix.size());
      EXPECT_TRUE(std::equal(of[i].prefix.begin(), of[i].prefix.end(), got.ids.begin()));
    }
  }
}

TEST(SearchRules, APrefixMayBeAllOfTheTranslation) {
  const LogitTable table;
  const SentenceOptions of{0, {4, 5, 6}};
  for (const bool sampling : {false, true}) {
    const SearchOptions options{
        .beam = 2, .max_length = 3, .best = 2, .sampling = sampling, .top_k = 2};
    const auto got = search_table(table, {3}, options, std::span(&of, 1)).at(0);
    ASSERT_EQ(got.size(), sampling ? 2U : 1U);  // a search finds one translation, and two are drawn
    for (const Hypothesis& h : got) EXPECT_EQ(h.ids, of.prefix);
  }
}

TEST(LengthPenalty, OfPowerIsTheLengthToAlpha) {
  using enum config::LengthNormalization;
  EXPECT_EQ(length_penalty(1, 3.0, kPower), 1.0);
  EXPECT_EQ(length_penalty(20, 0.0, kPower), 1.0);
  EXPECT_DOUBLE_EQ(length_penalty(7, 1.0, kPower), 7.0);
  EXPECT_DOUBLE_EQ(length_penalty(9, 0.5, kPower), 3.0);
}

}  // namespace
}  // namespace th::model
