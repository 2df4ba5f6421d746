#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "th/score/bleu.hpp"

namespace th::score {
namespace {

using Lines = std::vector<std::string>;

/// At white space, without smoothing: as Papineni et al. define it.
double plain_bleu(const Lines& hypotheses, const Lines& references) {
  return corpus_bleu(hypotheses, references, {BleuTokenizer::kNone, Smoothing::kNone, {}}).value;
}

constexpr double kTolerance = 1e-10;  // fp64, a few logarithms, in percent

TEST(Bleu, IdenticalLinesHaveOneHundred) {
  EXPECT_NEAR(
      plain_bleu({"the cat sat on the mat", "a b c d"}, {"the cat sat on the mat", "a b c d"}),
      100.0, kTolerance);
}

TEST(Bleu, AgreesWithAHandComputedSentence) {
  // h: 7 words, r: 7 words. 1-grams: the(2) cat sat on mat match, "red" does not: 6/7. 2-grams:
  // "the cat", "cat sat", "sat on", "on the" of 6: 4/6. 3-grams: "the cat sat", "cat sat on", "sat
  // on the" of 5: 3/5. 4-grams: 2/4. No brevity penalty.
  const double want = 100.0 * std::pow(6.0 / 7 * 4.0 / 6 * 3.0 / 5 * 2.0 / 4, 0.25);
  EXPECT_NEAR(plain_bleu({"the cat sat on the red mat"}, {"the cat sat on the blue mat"}), want,
              kTolerance);
}

TEST(Bleu, BrevityPenaltyIsTheExponentialOfTheMissingShare) {
  // Every n-gram matches; 4 words against 6: exp(1 - 6/4).
  EXPECT_NEAR(plain_bleu({"a b c d"}, {"a b c d e f"}), 100.0 * std::exp(-0.5), kTolerance);
}

TEST(Bleu, ALongerHypothesisHasNoBrevityPenalty) {
  // 4/6, 3/5, 2/4, 1/3.
  EXPECT_NEAR(plain_bleu({"a b c d e f"}, {"a b c d"}),
              100.0 * std::pow(4.0 / 6 * 3.0 / 5 * 2.0 / 4 * 1.0 / 3, 0.25), kTolerance);
}

TEST(Bleu, RepeatedWordsAreClippedToTheReference) {
  // Papineni et al. 2002, 2.1: "the" counts twice at most; a second line keeps the higher orders
  // from being empty. Line 1: "the" x 7 against "the cat is on the mat": 1-grams 2/7, 2-grams 0/6,
  // 3-grams 0/5, 4-grams 0/4; line 2: 4/4, 3/3, 2/2, 1/1.
  const double want = 100.0 * std::pow(6.0 / 11 * 3.0 / 9 * 2.0 / 7 * 1.0 / 5, 0.25);
  EXPECT_NEAR(
      plain_bleu({"the the the the the the the", "a b c d"}, {"the cat is on the mat", "a b c d"}),
      want, kTolerance);
}

TEST(Bleu, CountsAreSummedOverTheCorpusNotAveragedOverLines) {
  // Line 1 is perfect (5 words), line 2 (3 words) matches one word. 1-grams 6/8, 2-grams 4/6,
  // 3-grams 3/4, 4-grams 2/2.
  const double want = 100.0 * std::pow(6.0 / 8 * 4.0 / 6 * 3.0 / 4 * 2.0 / 2, 0.25);
  EXPECT_NEAR(plain_bleu({"a b c d e", "x q z"}, {"a b c d e", "x y w"}), want, kTolerance);
}

TEST(Bleu, TheBrevityPenaltyIsOfTheCorpus) {
  // 4 + 8 words against 8 + 4: the same length in all, so no penalty. 1-grams 4+4 of 12, 2-grams
  // 3+3 of 3+7, 3-grams 2+2 of 2+6, 4-grams 1+1 of 1+5.
  const double want = 100.0 * std::pow(8.0 / 12 * 6.0 / 10 * 4.0 / 8 * 2.0 / 6, 0.25);
  EXPECT_NEAR(plain_bleu({"a b c d", "e f g h 1 2 3 4"}, {"a b c d 5 6 7 8", "e f g h"}), want,
              kTolerance);
}

TEST(Bleu, WordsAreSplitAtAnyAsciiWhiteSpaceAndCaseCounts) {
  EXPECT_NEAR(plain_bleu({"a\tb  c d"}, {" a b c\td "}), 100.0, kTolerance);
  EXPECT_EQ(plain_bleu({"A B C D"}, {"a b c d"}), 0.0);
}

TEST(Bleu, IsZeroWithoutAnyMatchOfSomeOrder) {
  EXPECT_EQ(plain_bleu({"p q r s"}, {"a b c d"}), 0.0);
  EXPECT_EQ(plain_bleu({"a b c"}, {"a b c"}), 0.0);  // no 4-gram at all
  EXPECT_EQ(plain_bleu({"a b c x"}, {"a b c y"}), 0.0);
}

TEST(Bleu, EmptyHypothesesAreZeroAndNotUndefined) {
  EXPECT_EQ(plain_bleu({""}, {"a b c d"}), 0.0);
  EXPECT_EQ(plain_bleu({"", ""}, {"a b c d", "e"}), 0.0);
  EXPECT_EQ(plain_bleu({}, {}), 0.0);
  EXPECT_EQ(plain_bleu({""}, {""}), 0.0);
}

TEST(Bleu, AnEmptyLineCostsItsReferencesLength) {
  EXPECT_NEAR(plain_bleu({"a b c d", ""}, {"a b c d", "e f"}), 100.0 * std::exp(1.0 - 6.0 / 4.0),
              kTolerance);
}

TEST(Bleu, TheOrderOfTheLinesDoesNotMatter) {
  const Lines h{"a b c d e", "the cat sat on", "x y z w"},
      r{"a b c d f", "the cat sat on it", "x y z w"};
  EXPECT_EQ(plain_bleu(h, r), plain_bleu({h[2], h[0], h[1]}, {r[2], r[0], r[1]}));
}

}  // namespace
}  // namespace th::score
