// SentencePiece's models with the ids of another program's vocabulary.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "th/base/error.hpp"
#include "th/data/tokenizer/model_order.hpp"
#include "trained.hpp"

namespace th::data {
namespace {

using config::TokenizerKind;
using Texts = std::vector<std::string>;

/// The pieces of a line, as text.
Texts pieces_of(const Tokenizer& tokenizer, const std::string& line) {
  Texts out;
  for (const std::int32_t id : tokenizer.encode(line))
    out.push_back(tokenizer.tokens()[static_cast<std::size_t>(id)]);
  return out;
}

class ModelOrder : public testing::TestWithParam<TokenizerKind> {
 protected:
  void SetUp() override {
    auto section = test::section_of(GetParam(), 260);
    section.byte_fallback = false;
    model_ = test::trained(section, test::training_lines());
    others_ = ordinary_pieces(model_->model(), "m");
  }
  std::shared_ptr<const SentencePieceTokenizer> model_;
  Texts others_;
};
INSTANTIATE_TEST_SUITE_P(Kinds, ModelOrder,
                         testing::Values(TokenizerKind::kBpe, TokenizerKind::kUnigram),
                         [](const auto& p) { return std::string(kind_name(p.param)); });

TEST_P(ModelOrder, AnotherOrderSegmentsAlike) {
  ASSERT_EQ(std::ssize(others_), 256);
  Texts order(others_.rbegin(), others_.rend());
  order.insert(order.begin() + 7, "of_nobody");
  const SentencePieceTokenizer other(model_in_order(model_->model(), order, "m"), "m");
  EXPECT_EQ(other.kind(), GetParam());
  Texts due = {"<pad>", "<unk>", "<s>", "</s>"};
  due.insert(due.end(), order.begin(), order.end());
  EXPECT_EQ(other.tokens(), due);
  for (const std::string& line : test::hard_lines()) {
    EXPECT_EQ(pieces_of(other, line), pieces_of(*model_, line)) << line;
    EXPECT_EQ(other.segment(line, 0, 1), other.encode(line)) << line;
    EXPECT_EQ(other.decode(other.encode(line)), model_->decode(model_->encode(line))) << line;
  }
  EXPECT_EQ(pieces_of(other, "of_nobody"), pieces_of(*model_, "of_nobody"));
}

TEST_P(ModelOrder, IdsOfAModelAreThoseOfItsFile) {
  const ModelIds same = read_model_ids(model_->model(), "m");
  ASSERT_EQ(std::ssize(same.ids), 260);
  for (std::size_t id = 0; id < same.ids.size(); ++id)
    EXPECT_EQ(same.ids[id], static_cast<std::int32_t>(id));
  EXPECT_EQ(same.tokenizer, model_->saved());
}

TEST_P(ModelOrder, APieceThatIsLeftOutIsNotUsed) {
  const std::string line = "seventy-seven thousand";
  const Texts before = pieces_of(*model_, line);
  const std::string longest =
      *std::max_element(before.begin(), before.end(),
                        [](const auto& a, const auto& b) { return a.size() < b.size(); });
  Texts fewer = others_;
  std::erase(fewer, longest);
  if (GetParam() == TokenizerKind::kBpe) {
    EXPECT_THROW((void)model_in_order(model_->model(), fewer, "m"), DataError);
    return;
  }
  const SentencePieceTokenizer other(model_in_order(model_->model(), fewer, "m"), "m");
  const Texts after = pieces_of(other, line);
  EXPECT_EQ(std::count(after.begin(), after.end(), longest), 0);
  EXPECT_EQ(other.decode(other.encode(line)), line);
}

TEST_P(ModelOrder, AMarkOfTheLanguageIsCutOut) {
  EXPECT_TRUE(is_language_mark(">>fr<<"));
  EXPECT_FALSE(is_language_mark(">><<") || is_language_mark("fr") || is_language_mark(">>fr"));
  Texts order = others_;
  order.push_back(language_piece(">>fr<<"));
  const SentencePieceTokenizer other(model_in_order(model_->model(), order, "m"), "m");
  Texts due = {language_piece(">>fr<<")};
  for (const std::string& piece : pieces_of(*model_, "seventy thousand")) due.push_back(piece);
  EXPECT_EQ(pieces_of(other, ">>fr<< seventy thousand"), due);
}

TEST(ModelOrderErrors, BytesThatAreNoModelAreNamed) {
  try {
    (void)model_in_order("no model", {}, "x.spm");
    ADD_FAILURE();
  } catch (const DataError& error) {
    EXPECT_EQ(std::string(error.what()).find("x.spm: "), 0U) << error.what();
  }
}

}  // namespace
}  // namespace th::data
