// SentencePiece's models: what is made of text, what is read, ids, and text again. The reference is
// the library's own encode.
#include <gtest/gtest.h>
#include <sentencepiece_trainer.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>

#include "th/base/error.hpp"
#include "trained.hpp"

namespace th::data {
namespace {

using config::TokenizerKind;
using PieceIds = std::vector<std::int32_t>;
using test::section_of;
using test::trained;
using test::walk_of;

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.exit_code())) + ": " + error.what();
  }
  return "no error";
}

class Pieces : public testing::TestWithParam<TokenizerKind> {};
INSTANTIATE_TEST_SUITE_P(Kinds, Pieces,
                         testing::Values(TokenizerKind::kBpe, TokenizerKind::kUnigram),
                         [](const auto& p) { return std::string(kind_name(p.param)); });

TEST_P(Pieces, OurSegmentationIsSentencePiecesOwn) {
  for (const bool bytes : {true, false}) {
    config::DataSection data = section_of(GetParam(), bytes ? 480 : 220);
    data.byte_fallback = bytes;
    data.character_coverage = 0.99;
    data.user_symbols = "<2de>,<2de>x,vingt";
    const auto tokenizer = trained(data, test::training_lines());
    ASSERT_EQ(tokenizer->size(), data.vocab_size);
    std::size_t unknown = 0;
    for (const std::string& line : test::hard_lines()) {
      const PieceIds ids = tokenizer->encode(line);
      EXPECT_EQ(tokenizer->segment(line, 0, 1), ids) << line;
      unknown += static_cast<std::size_t>(std::count(ids.begin(), ids.end(), kUnknown));
    }
    EXPECT_EQ(unknown > 0, !bytes);
  }
}

TEST_P(Pieces, IdsOfATrainedModelAreTheContracts) {
  const auto tokenizer = trained(section_of(GetParam(), 500), test::training_lines());
  EXPECT_EQ(tokenizer->kind(), GetParam());
  EXPECT_EQ(tokenizer->size(), 500);
  EXPECT_EQ(
      (std::vector<std::string>(tokenizer->tokens().begin(), tokenizer->tokens().begin() + 5)),
      (std::vector<std::string>{"<pad>", "<unk>", "<s>", "</s>", "<0x00>"}));
  for (const std::string& line : test::training_lines()) {
    for (const std::int32_t id : tokenizer->encode(line)) EXPECT_GT(id, kEnd);
  }
}

TEST_P(Pieces, AnyTextComesBackThroughBytes) {
  config::DataSection data = section_of(GetParam(), 500);
  data.normalization = config::Normalization::kIdentity;
  const auto tokenizer = trained(data, test::training_lines());
  for (const char* line :
       {"emoji 😀😀 and 👩‍👩‍👧 family", "㍿㎢ﷺ ﬁn", "ＡＢＣ", "Grüße ΩΩ", "twenty"})
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(line)), line);
  // A line end that the model writes byte by byte is no end of the line.
  const auto id_of = [&](const std::string& token) {
    const auto& tokens = tokenizer->tokens();
    return static_cast<std::int32_t>(std::find(tokens.begin(), tokens.end(), token) -
                                     tokens.begin());
  };
  EXPECT_EQ(tokenizer->decode(PieceIds{kBegin, id_of("<0x41>"), id_of("<0x0A>"), kPad,
                                       id_of("<0x42>"), kEnd, id_of("<0x43>")}),
            "A B");
  EXPECT_THROW(static_cast<void>(tokenizer->decode(PieceIds{500})), DataError);
  EXPECT_THROW(static_cast<void>(tokenizer->decode(PieceIds{-1})), DataError);
}

TEST_P(Pieces, TrainingGivesTheSameBytesAgain) {
  const config::DataSection data = section_of(GetParam(), 500);
  const auto tokenizer = trained(data, test::training_lines());
  EXPECT_EQ(trained(data, test::training_lines())->model(), tokenizer->model());
  EXPECT_EQ(tokenizer_from(tokenizer_bytes(*tokenizer))->saved(), tokenizer->saved());
  EXPECT_EQ(restore_tokenizer(tokenizer->saved())->saved(), tokenizer->saved());
  SavedTokenizer mixed = tokenizer->saved();
  std::swap(mixed.tokens[10], mixed.tokens[11]);
  EXPECT_THROW(static_cast<void>(restore_tokenizer(mixed)), DataError);
}

TEST_P(Pieces, UserSymbolsAreWholeAndCaseIsFolded) {
  config::DataSection data = section_of(GetParam(), 500);
  data.user_symbols = "<2de>,<2fr>";
  data.normalization = config::Normalization::kNmtNfkcCf;
  const auto tokenizer = trained(data, test::training_lines());
  EXPECT_EQ(tokenizer->tokens()[4], "<2de>");
  EXPECT_EQ(tokenizer->tokens()[5], "<2fr>");
  for (const double amount : {0.0, 0.3, 1.0}) {
    const PieceIds ids = tokenizer->sample("<2fr> TWENTY<2de>", amount, 3);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), 5), 1) << amount;
    EXPECT_EQ(ids.back(), 4) << amount;
    EXPECT_EQ(tokenizer->decode(ids), "<2fr> twenty<2de>");
  }
}

TEST_P(Pieces, ATextThatIsTooSmallSaysHowMuchItGives) {
  config::DataSection data = section_of(GetParam(), 8000);
  data.byte_fallback = false;
  const std::vector<std::string> lines = test::training_lines();
  const std::string message =
      error_of([&] { (void)make_tokenizers(data, true, walk_of(lines), walk_of({})); });
  const std::string head =
      std::string("3: s.txt, t.txt: gives a ") + kind_name(GetParam()) + " vocabulary of at most ";
  ASSERT_EQ(message.find(head), 0U) << message;
  const std::int64_t most = std::stoll(message.substr(head.size()));
  EXPECT_NE(message.find(" tokens, and data.vocab_size = 8000; lower it"), std::string::npos);
  data.vocab_size = most;
  EXPECT_EQ(trained(data, lines)->size(), most);
  data.vocab_size = most + 1;
  EXPECT_NE(error_of([&] { (void)trained(data, lines); }), "no error");
  data.vocab_size = 20;  // fewer than the characters
  EXPECT_EQ(error_of([&] {
              (void)trained(data, lines);
            }).find("3: s.txt, t.txt: has too many characters for data.vocab_size = 20;"),
            0U);
  EXPECT_EQ(error_of([&] { (void)make_tokenizers(data, true, walk_of({}), walk_of({})); }),
            "3: s.txt, t.txt: has no lines to make a vocabulary of");
}

class UserModel : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }
  /// Trains a model as a user does, outside of this program.
  void train(std::unordered_map<std::string, std::string> settings) const {
    struct Lines final : sentencepiece::SentenceIterator {
      std::vector<std::string> all = test::training_lines();
      std::size_t at = 0;
      [[nodiscard]] bool done() const override { return at == all.size(); }
      void Next() override { ++at; }
      [[nodiscard]] const std::string& value() const override { return all[at]; }
      [[nodiscard]] sentencepiece::util::Status status() const override { return {}; }
    } lines;
    settings.emplace("minloglevel", "3");
    settings.emplace("vocab_size", "240");
    std::string bytes;
    const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &lines, &bytes);
    ASSERT_TRUE(status.ok()) << status.message();
    std::ofstream(path_, std::ios::binary) << bytes;
  }
  std::filesystem::path path_ = std::filesystem::path(testing::TempDir()) /
                                ("th_model_" + std::to_string(::getpid()) + ".model");
};

TEST_F(UserModel, SpecialSymbolsAreMappedToOurIds) {
  // SentencePiece's defaults: unknown 0, begin 1, end 2, no padding.
  train({{"model_type", "unigram"}});
  const auto tokenizer = read_model(path_);
  EXPECT_EQ(tokenizer->size(), 241);  // with our padding
  sentencepiece::SentencePieceProcessor own;
  ASSERT_TRUE(own.Load(path_.string()).ok());
  for (const std::string& line : test::hard_lines()) {
    PieceIds want;
    for (const int id : own.EncodeAsIds(line)) want.push_back(id == 0 ? kUnknown : id + 1);
    EXPECT_EQ(tokenizer->encode(line), want) << line;
    EXPECT_EQ(tokenizer->decode(want), own.DecodeIds(own.EncodeAsIds(line)));
  }
  EXPECT_EQ(tokenizer->tokens()[4], own.IdToPiece(3));
  // In other places, and without begin and end.
  train(
      {{"model_type", "bpe"}, {"pad_id", "3"}, {"unk_id", "2"}, {"eos_id", "0"}, {"bos_id", "1"}});
  EXPECT_EQ(read_model(path_)->size(), 240);
  train({{"model_type", "bpe"}, {"bos_id", "-1"}, {"eos_id", "-1"}});
  EXPECT_EQ(read_model(path_)->size(), 243);
  EXPECT_EQ(read_model(path_)->decode(read_model(path_)->encode("twenty")), "twenty");
}

TEST_F(UserModel, WhatCanNotBeMappedIsRefusedWithItsIds) {
  train({{"model_type", "bpe"}, {"user_defined_symbols", "<pad>"}});
  EXPECT_EQ(
      error_of([&] { (void)read_model(path_); }),
      "3: " + path_.string() +
          ": the model's special symbols can't be mapped to pad 0, unknown 1, begin 2, end 3: "
          "its id 3 is a user-defined piece <pad>, which is no special symbol of the model");
}

TEST_F(UserModel, IsOfTheKindThatTheDeckNames) {
  train({{"model_type", "bpe"}});
  config::DataSection data = section_of(TokenizerKind::kUnigram, 0);
  data.tokenizer_model = path_.string();
  EXPECT_EQ(error_of([&] { (void)make_tokenizers(data, false, {}, {}); }),
            "2: data.tokenizer = unigram, and " + path_.string() +
                " is a bpe model; set data.tokenizer = bpe");
  data.tokenizer = TokenizerKind::kBpe;
  const TokenizerPair pair = make_tokenizers(data, false, {}, {});
  EXPECT_EQ(pair.source, pair.target);
  train({{"model_type", "char"}});
  EXPECT_NE(error_of([&] { (void)read_model(path_); }).find("whole words or characters"),
            std::string::npos);
}

TEST_F(UserModel, OtherFilesAreNoModels) {
  for (const std::string& bytes :
       {std::string(), std::string("no model"), std::string("\x0a\xff\xff\xff\xff\x0f", 6)}) {
    std::ofstream(path_, std::ios::binary) << bytes;
    const std::string message = error_of([&] { (void)read_model(path_); });
    EXPECT_EQ(message.find("3: " + path_.string() + ": is no SentencePiece model"), 0U) << message;
  }
  std::filesystem::remove(path_);
  EXPECT_EQ(
      error_of([&] { (void)read_model(path_); }),
      "3: " + path_.string() + ": the tokenizer's model can't be read: No such file or directory");
}

}  // namespace
}  // namespace th::data
