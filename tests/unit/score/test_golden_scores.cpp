#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "th/score/bleu.hpp"
#include "th/score/chrf.hpp"
#include "th/score/names.hpp"
#include "th/score/rouge.hpp"

// Numbers that sacrebleu 2.6.0 and rouge-score 0.1.2 gave (tests/golden/scores/make_scores.py): a
// thousand lines of English, French, German, Italian, Chinese, Russian and of signs, poor and empty
// hypotheses among them; summaries of several sentences; corpora that have no score.
namespace th::score {
namespace {

using Json = nlohmann::json;
using Lines = std::vector<std::string>;

// The file has six decimals; both sides compute in fp64.
constexpr double kScoreTolerance = 2e-6;

const Json& golden() {
  static const Json json = [] {
    std::ifstream in(TH_SOURCE_DIR "/tests/golden/scores/golden_scores.json");
    return Json::parse(in);
  }();
  return json;
}

struct Group {
  std::string name;
  Lines hypotheses, references;
  const Json* scores = nullptr;
};

void add_pairs(const Json& scores, Group& group) {
  for (const Json& pair : scores.at("pairs")) {
    group.hypotheses.push_back(pair[0]);
    group.references.push_back(pair[1]);
  }
}

std::vector<Group> groups() {
  std::vector<Group> out;
  Group everything{"everything", {}, {}, &golden().at("everything")};
  for (const auto& [name, scores] : golden().items()) {
    if (!scores.is_object() || !scores.contains("pairs")) continue;
    Group group{name, {}, {}, &scores};
    add_pairs(scores, group);
    out.push_back(std::move(group));
  }
  // In the order in which the script made them.
  for (const char* name : {"en", "fr", "de", "it", "zh", "ru", "signs"})
    add_pairs(golden().at(name), everything);
  out.push_back(std::move(everything));
  return out;
}

template <typename Enum, std::size_t N>
Enum named(const std::pair<const char*, Enum> (&table)[N], const std::string& name) {
  for (const auto& [text, value] : table)
    if (text == name) return value;
  ADD_FAILURE() << name;
  return {};
}

std::string without_version(const std::string& signature) {
  return signature.substr(0, signature.rfind("|version"));
}

TEST(GoldenScores, TheFileHasAThousandLinesAndTheCorporaWithoutAScore) {
  const std::vector<Group> all = groups();
  EXPECT_EQ(all.back().hypotheses.size(), 1000U);
  EXPECT_EQ(all.size(), 16U);
}

TEST(GoldenScores, BleuIsSacrebleusForEachTokenizerAndSmoothing) {
  for (const Group& group : groups()) {
    EXPECT_EQ(group.scores->at("bleu").size(), 16U);
    for (const auto& [kind, wanted] : group.scores->at("bleu").items()) {
      const std::size_t space = kind.find(' ');
      const BleuOptions options{named(kBleuTokenizers, kind.substr(0, space)),
                                named(kSmoothings, kind.substr(space + 1)),
                                {}};
      const Bleu bleu = corpus_bleu(group.hypotheses, group.references, options);
      EXPECT_NEAR(bleu.value, wanted[0].get<double>(), kScoreTolerance)
          << group.name << ", " << kind;
      EXPECT_EQ(details(bleu), wanted[1].get<std::string>()) << group.name << ", " << kind;
      EXPECT_EQ(without_version(signature(options)), wanted[2].get<std::string>());
    }
  }
}

TEST(GoldenScores, ChrfIsSacrebleusForEachWordOrder) {
  for (const Group& group : groups()) {
    ASSERT_EQ(group.scores->at("chrf").size(), 3U);
    for (std::int64_t order = 0; order <= 2; ++order) {
      const Json& wanted = group.scores->at("chrf")[static_cast<std::size_t>(order)];
      const ChrfOptions options{order};
      EXPECT_NEAR(corpus_chrf(group.hypotheses, group.references, options), wanted[0].get<double>(),
                  kScoreTolerance)
          << group.name << ", words up to " << order;
      EXPECT_EQ(name_of(options), wanted[1].get<std::string>());
      EXPECT_EQ(without_version(signature(options)), wanted[2].get<std::string>());
    }
  }
}

void expect_near(const RougeScore& score, const Json& wanted, const std::string& where) {
  EXPECT_NEAR(score.precision, wanted[0].get<double>(), kScoreTolerance) << where << ", precision";
  EXPECT_NEAR(score.recall, wanted[1].get<double>(), kScoreTolerance) << where << ", recall";
  EXPECT_NEAR(score.f, wanted[2].get<double>(), kScoreTolerance) << where << ", F";
}

TEST(GoldenScores, RougeIsRougeScoresByWordsAndByCharacters) {
  for (const Group& group : groups()) {
    for (const auto& [units, wanted] : group.scores->at("rouge").items()) {
      const Rouge rouge =
          corpus_rouge(group.hypotheses, group.references, {named(kRougeUnits, units)});
      const std::string where = group.name + ", " + units;
      expect_near(rouge.one, wanted.at("rouge1"), where + ", rouge1");
      expect_near(rouge.two, wanted.at("rouge2"), where + ", rouge2");
      expect_near(rouge.longest, wanted.at("rougeL"), where + ", rougeL");
      expect_near(rouge.summary, wanted.at("rougeLsum"), where + ", rougeLsum");
    }
  }
}

TEST(GoldenScores, EachLineAloneHasItsScores) {
  constexpr double kLine = 6e-5, kLineRouge = 6e-6;  // four and five decimals
  Lines hypotheses, references;
  for (const char* name : {"en", "fr", "de", "it", "zh", "ru", "signs", "summaries"}) {
    Group group;
    add_pairs(golden().at(name), group);
    hypotheses.insert(hypotheses.end(), group.hypotheses.begin(), group.hypotheses.end());
    references.insert(references.end(), group.references.begin(), group.references.end());
  }
  const Json& lines = golden().at("lines");
  ASSERT_EQ(lines.size(), hypotheses.size());
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::span<const std::string> h(&hypotheses[i], 1), r(&references[i], 1);
    const Rouge rouge = corpus_rouge(h, r);
    EXPECT_NEAR(corpus_chrf(h, r, {2}), lines[i][0].get<double>(), kLine) << hypotheses[i];
    EXPECT_NEAR(rouge.one.f, lines[i][1].get<double>(), kLineRouge) << hypotheses[i];
    EXPECT_NEAR(rouge.two.f, lines[i][2].get<double>(), kLineRouge) << hypotheses[i];
    EXPECT_NEAR(rouge.longest.f, lines[i][3].get<double>(), kLineRouge) << hypotheses[i];
    EXPECT_NEAR(rouge.summary.f, lines[i][4].get<double>(), kLineRouge) << hypotheses[i];
  }
}

}  // namespace
}  // namespace th::score
