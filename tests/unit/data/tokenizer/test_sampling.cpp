// Random segmentations: their distribution against formulas and against all segmentations spelled
// out, and that they are a function of the key.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "trained.hpp"

namespace th::data {
namespace {

using config::TokenizerKind;
using DrawnIds = std::vector<std::int32_t>;
using Kind = PieceModel::Kind;
using Type = PieceModel::Type;

constexpr int kDrawn = 40000;

PieceModel model_of(Kind kind, const std::vector<std::pair<std::string, float>>& pieces) {
  PieceModel model;
  model.kind = kind;
  model.pieces.push_back({"<unk>", 0, Type::kUnknownPiece});
  for (const auto& [text, score] : pieces) model.pieces.push_back({text, score, Type::kNormal});
  return model;
}

/// How often each segmentation is drawn, as a share.
std::map<DrawnIds, double> shares(const PieceModel& model, const std::string& text, double amount) {
  const auto segmenter = Segmenter::make(model);
  std::map<DrawnIds, double> out;
  for (int key = 0; key < kDrawn; ++key)
    out[segmenter->segment(text, amount, SegmentDraws(static_cast<std::uint64_t>(key)))] +=
        1.0 / kDrawn;
  return out;
}

void expect_shares(const std::map<DrawnIds, double>& seen,
                   const std::map<DrawnIds, double>& wanted) {
  for (const auto& [ids, p] : wanted) {
    const double deviation = std::sqrt(p * (1 - p) / kDrawn);
    EXPECT_NEAR(seen.contains(ids) ? seen.at(ids) : 0, p, 5 * deviation)
        << testing::PrintToString(ids);
  }
  for (const auto& entry : seen) EXPECT_TRUE(wanted.contains(entry.first));
}

TEST(SubwordSampling, UnigramDrawsByTheProbabilityToThePower) {
  // DrawnIds: a 1, b 2, c 3, ab 4, bc 5.
  const std::vector<std::pair<std::string, float>> pieces = {
      {"a", -2.0F}, {"b", -2.5F}, {"c", -1.5F}, {"ab", -3.0F}, {"bc", -2.25F}};
  const PieceModel model = model_of(Kind::kUnigram, pieces);
  for (const double power : {0.2, 1.0}) {
    std::map<DrawnIds, double> wanted;
    double sum = 0;
    for (const DrawnIds& ids : {DrawnIds{1, 2, 3}, DrawnIds{4, 3}, DrawnIds{1, 5}}) {
      double score = 0;
      for (const std::int32_t id : ids) score += model.pieces[static_cast<std::size_t>(id)].score;
      wanted[ids] = std::exp(power * score);
      sum += wanted[ids];
    }
    for (auto& entry : wanted) entry.second /= sum;
    expect_shares(shares(model, "abc", power), wanted);
  }
  EXPECT_EQ(shares(model, "abc", 0.0).size(), 1U);
}

TEST(SubwordSampling, BpeLeavesMergesOutWithTheProbability) {
  // DrawnIds: a 1, b 2, c 3, ab 4, abc 5. First ab, then abc.
  const PieceModel model =
      model_of(Kind::kBpe, {{"a", -10}, {"b", -11}, {"c", -12}, {"ab", -1}, {"abc", -2}});
  for (const double p : {0.1, 0.6}) {
    expect_shares(shares(model, "abc", p),
                  {{{5}, (1 - p) * (1 - p)}, {{4, 3}, (1 - p) * p}, {{1, 2, 3}, p}});
  }
  EXPECT_EQ(shares(model, "abc", 1.0),
            (std::map<DrawnIds, double>{{{1, 2, 3}, shares(model, "abc", 1.0)[{1, 2, 3}]}}));
}

TEST(SubwordSampling, LongTextsStayWithinANumbersRange) {
  const PieceModel model =
      model_of(Kind::kUnigram, {{"a", -14.0F}, {"aa", -15.0F}, {"aaa", -15.5F}});
  const auto segmenter = Segmenter::make(model);
  const std::string text(20000, 'a');
  std::size_t bytes = 0;
  for (const std::int32_t id : segmenter->segment(text, 1.0, SegmentDraws(5)))
    bytes += model.pieces[static_cast<std::size_t>(id)].text.size();
  EXPECT_EQ(bytes, text.size());
}

TEST(SubwordSampling, UnusedPiecesAreStepsAndUnknownOnesBytes) {
  PieceModel bpe =
      model_of(Kind::kBpe, {{"a", -10}, {"b", -11}, {"c", -12}, {"ab", -1}, {"abc", -2}});
  bpe.pieces[4].type = Type::kUnused;  // ab: of it abc may be made, by itself it is no token
  EXPECT_EQ(Segmenter::make(bpe)->segment("abc", 0, SegmentDraws(1)), (DrawnIds{5}));
  EXPECT_EQ(Segmenter::make(bpe)->segment("abb", 0, SegmentDraws(1)), (DrawnIds{1, 2, 2}));
  EXPECT_EQ(Segmenter::make(bpe)->segment("axxb", 0, SegmentDraws(1)), (DrawnIds{1, 0, 2}));
  bpe.byte_fallback = true;
  for (int byte = 0; byte < 256; ++byte) bpe.pieces.push_back({"<0x..>", 0, Type::kByte});
  EXPECT_EQ(Segmenter::make(bpe)->segment("a\u00e9", 0, SegmentDraws(1)),
            (DrawnIds{1, 6 + 0xC3, 6 + 0xA9}));
}

class TrainedSampling : public testing::TestWithParam<TokenizerKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, TrainedSampling,
                         testing::Values(TokenizerKind::kBpe, TokenizerKind::kUnigram),
                         [](const auto& p) { return std::string(kind_name(p.param)); });

TEST_P(TrainedSampling, EverySegmentationSpellsTheLineAndIsAFunctionOfTheKey) {
  const auto tokenizer = test::trained(test::section_of(GetParam(), 500), test::training_lines());
  std::size_t others = 0, lines = 0;
  for (const std::string& line : test::hard_lines()) {
    const std::string text = tokenizer->decode(tokenizer->encode(line));
    for (std::uint64_t key = 1; key <= 3; ++key) {
      const DrawnIds ids = tokenizer->sample(line, 0.3, key);
      EXPECT_EQ(tokenizer->decode(ids), text);
      EXPECT_EQ(tokenizer->sample(line, 0.3, key), ids);
      others += ids != tokenizer->encode(line) ? 1 : 0;
    }
    ++lines;
  }
  EXPECT_GT(others, lines);  // of three a line, most are other ones
  EXPECT_EQ(tokenizer->sample("twenty", 0, 4), tokenizer->encode("twenty"));
}

}  // namespace
}  // namespace th::data
