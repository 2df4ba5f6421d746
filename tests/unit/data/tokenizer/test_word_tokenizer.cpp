#include "data/tokenizer/word_tokenizer.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "lines.hpp"
#include "th/base/error.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

namespace th::data {
namespace {

using test::walk_of;

TEST(Tokenizer, OrderMinFreqAndCap) {
  const std::vector<std::string> lines = {"b a b\tA c", " c  b </s> z </s>", "a\u00A0x a\u00A0x"};
  const std::array<TextWalk, 1> texts = {walk_of(lines)};
  const auto all = WordTokenizer::build(texts, 1, 0);
  EXPECT_EQ(all.tokens(), (std::vector<std::string>{"<pad>", "<unk>", "<s>", "</s>", "b",
                                                    "a\u00A0x", "c", "A", "a", "z"}));
  EXPECT_EQ(WordTokenizer::build(texts, 2, 0).size(), 7);
  const auto capped = WordTokenizer::build(texts, 1, 6);
  EXPECT_EQ(capped.size(), 6);
  EXPECT_EQ(capped.encode("b c\u00A0d B </s> <pad>"), (std::vector<std::int32_t>{4, 1, 1, 1, 1}));
}

TEST(Tokenizer, DecodeAndDamagedLists) {
  const WordTokenizer tokenizer({"<pad>", "<unk>", "<s>", "</s>", "x", "y"});
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{2, 4, 0, 5, 1, 3, 4}), "x y <unk>");
  EXPECT_THROW(static_cast<void>(tokenizer.decode(std::vector<std::int32_t>{6})), DataError);
  EXPECT_THROW(static_cast<void>(tokenizer.decode(std::vector<std::int32_t>{-1})), DataError);
  EXPECT_THROW(WordTokenizer({"<pad>", "<unk>", "<s>"}), DataError);
  EXPECT_THROW(WordTokenizer({"<pad>", "<unk>", "</s>", "<s>"}), DataError);
  EXPECT_THROW(WordTokenizer({"<pad>", "<unk>", "<s>", "</s>", "x", "x"}), DataError);
  for (const std::string& torn : {std::string("x\ny"), std::string("x\0y", 3), std::string("\r")})
    EXPECT_THROW(WordTokenizer({"<pad>", "<unk>", "<s>", "</s>", torn}), DataError);
}

TEST(Tokenizer, CutsKeepEnd) {
  const WordTokenizer tokenizer({"<pad>", "<unk>", "<s>", "</s>", "x", "y"});
  using WordIds = std::vector<std::int32_t>;
  EXPECT_EQ(encode_source(tokenizer, "x y x", 4), (WordIds{4, 5, 4, 3}));
  EXPECT_EQ(encode_source(tokenizer, "x y x", 3), (WordIds{4, 5, 3}));
  EXPECT_EQ(encode_target(tokenizer, "x y x", 5), (WordIds{2, 4, 5, 4, 3}));
  EXPECT_EQ(encode_target(tokenizer, "x y x", 4), (WordIds{2, 4, 5, 3}));
}

TEST(Tokenizer, BytesGiveTheTokenizerAgain) {
  const WordTokenizer tokenizer({"<pad>", "<unk>", "<s>", "</s>", "x", "\u00e9\u00a0y"});
  const auto again = tokenizer_from(tokenizer_bytes(tokenizer));
  EXPECT_EQ(again->saved(), tokenizer.saved());
  EXPECT_EQ(again->kind(), config::TokenizerKind::kWord);
  EXPECT_EQ(again->sample("x z", 0.9, 7), tokenizer.encode("x z"));
  EXPECT_THROW(static_cast<void>(tokenizer_from("")), DataError);
  EXPECT_THROW(static_cast<void>(tokenizer_from("th_words 1\n<pad>\n")), DataError);
}

TEST(Tokenizer, ATextWithoutFrequentWordsIsNamed) {
  config::DataSection data;
  data.train_source = "s.txt";
  data.train_target = "t.txt";
  const std::vector<std::string> once = {"a b"}, twice = {"c c"};
  try {
    static_cast<void>(make_tokenizers(data, false, walk_of(twice), walk_of(once)));
    FAIL() << "made";
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()), "t.txt: no word occurs data.min_freq = 2 times; lower it");
  }
}

}  // namespace
}  // namespace th::data
