#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "data/tokenizer/sentencepiece/sentencepiece_tokenizer.hpp"
#include "lines.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

namespace th::data::test {

/// The first lines of the shipped corpus, numbers in words, in both languages, with some of other
/// scripts between them.
inline std::vector<std::string> training_lines() {
  std::vector<std::string> lines;
  for (const char* name : {"numbers.train.en", "numbers.train.fr"}) {
    std::ifstream file(std::string(TH_SOURCE_DIR) + "/inputs/data/" + name);
    std::string line;
    for (int i = 0; i < 600 && std::getline(file, line); ++i) lines.push_back(line);
  }
  for (const char* line : {"Grüße aus Zürich, straße und fuß", "я читаю книгу, ты читаешь книгу",
                           "我喜歡讀書，你喜歡讀書嗎？", "ＡＢＣ full width ＡＢＣ"})
    lines.insert(lines.end(), 3, line);
  return lines;
}

/// Lines of every kind: known, in other scripts, with characters that no line of the training has,
/// with blanks in any number, empty.
inline std::vector<std::string> hard_lines() {
  std::vector<std::string> lines = training_lines();
  for (const char* line :
       {"", " ", "  two  blanks  ", "\ttab\tbetween", "twentytwentytwenty", "ünïcödé Ünïcödé",
        "我不喜歡讀書 twenty", "emoji 😀😀 and 👩‍👩‍👧 family", "㍿㎢ﷺ ﬁn",
        "a\u0301 \u00e1", "\u2581\u2581already", "<unk> <s> </s> <pad> <0x41>",
        "<2de> vingt<2de>et <2d", "\x7f\x01",
        "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"})
    lines.emplace_back(line);
  lines.push_back("seventy-seven thousand " + std::string(3000, 'x'));
  return lines;
}

inline config::DataSection section_of(config::TokenizerKind kind, std::int64_t size) {
  config::DataSection data;
  data.tokenizer = kind;
  data.vocab_size = size;
  data.train_source = "s.txt";
  data.train_target = "t.txt";
  return data;
}

/// The tokenizer that a deck's section makes of the lines.
inline std::shared_ptr<const SentencePieceTokenizer> trained(
    const config::DataSection& data, const std::vector<std::string>& lines) {
  return std::dynamic_pointer_cast<const SentencePieceTokenizer>(
      make_tokenizers(data, true, walk_of(lines), walk_of({})).source);
}

}  // namespace th::data::test
