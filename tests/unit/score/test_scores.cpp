#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "th/score/bleu.hpp"
#include "th/score/exact.hpp"
#include "th/score/rouge.hpp"

namespace th::score {
namespace {

using Lines = std::vector<std::string>;

std::string reason(const Lines& hypotheses, const Lines& references, Smoothing smoothing) {
  const BleuOptions options{BleuTokenizer::k13a, smoothing, {}};
  return why_zero(corpus_bleu(hypotheses, references, options), options);
}

TEST(WhyZero, NamesTheOrderThatNoHypothesisMatches) {
  EXPECT_EQ(reason({"a b c x d"}, {"a b c y d"}, Smoothing::kNone),
            "no 4-gram of a hypothesis stands in its reference");
  EXPECT_EQ(reason({"a x b"}, {"a y b"}, Smoothing::kNone),
            "no 2-gram of a hypothesis stands in its reference");
}

TEST(WhyZero, SaysThatAValueIsSmoothingsAlone) {
  EXPECT_EQ(reason({"a b c x d"}, {"a b c y d"}, Smoothing::kExp),
            "no 4-gram of a hypothesis stands in its reference: the value is smoothing's");
}

TEST(WhyZero, NamesHypothesesThatAreTooShortWhateverTheSmoothing) {
  for (const Smoothing smoothing : {Smoothing::kExp, Smoothing::kNone, Smoothing::kFloor}) {
    EXPECT_EQ(reason({"a b c"}, {"a b c"}, smoothing), "no hypothesis has 4 words");
    EXPECT_EQ(reason({"", " "}, {"a", "b"}, smoothing), "all hypotheses are empty");
    EXPECT_EQ(reason({"x"}, {"a"}, smoothing), "no word of a hypothesis stands in its reference");
  }
}

TEST(WhyZero, IsEmptyWhereEachOrderMatches) {
  EXPECT_EQ(reason({"a b c d"}, {"a b c d e"}, Smoothing::kExp), "");
}

TEST(ExactLines, AreComparedWithoutWhiteSpaceAtTheirEnds) {
  EXPECT_EQ(exact_lines(Lines{" a b\t", "c", "d  e", "\u3000f\u00a0", "", "G"},
                        Lines{"a b", "C", "d e", "f", " ", "G"}),
            4);
  EXPECT_EQ(exact_lines({}, {}), 0);
}

TEST(ExactLines, OfBytesThatAreNoTextAreComparedAsBytes) {
  EXPECT_EQ(exact_lines(Lines{"\xff\xc3", "\xe4\xb8"}, Lines{"\xff\xc3", "\xe4\xb9"}), 1);
}

TEST(BleuWords, AreThoseOfMteval) {
  using Words = std::vector<std::u32string>;
  EXPECT_EQ(bleu_words("It costs 1,234.5 dollars, doesn't it? 3-4.", BleuTokenizer::k13a),
            (Words{U"It", U"costs", U"1,234.5", U"dollars", U",", U"doesn't", U"it", U"?", U"3",
                   U"-", U"4", U"."}));
  EXPECT_EQ(bleu_words("中文 ok。", BleuTokenizer::kZh), (Words{U"中", U"文", U"ok", U"。"}));
  EXPECT_EQ(bleu_words("a 中", BleuTokenizer::kChar), (Words{U"a", U"中"}));
}

TEST(Rouge, OfChineseByWordsCountsLatinWordsAlone) {
  EXPECT_EQ(corpus_rouge(Lines{"今天"}, Lines{"今天"}).one.f, 0);
  EXPECT_EQ(corpus_rouge(Lines{"今天"}, Lines{"今天"}, {RougeUnits::kCharacters}).one.f, 1);
}

}  // namespace
}  // namespace th::score
