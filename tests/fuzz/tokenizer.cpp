#include <sentencepiece_trainer.h>

#include <unordered_map>

#include "reader.hpp"
#include "th/data/tokenizer/model_order.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

// Models of SentencePiece, and this program's tokenizers in bytes.
namespace th::fuzz {
namespace {

using data::Tokenizer;

constexpr const char* kWordsHead = "th_words 1\n";
constexpr const char* kPiecesHead = "th_pieces 1\n";

std::string trained(const std::string& folder,
                    const std::unordered_map<std::string, std::string>& options) {
  const std::string text = folder + "/text";
  std::string lines;
  for (int i = 0; i < 60; ++i)
    lines += "the house of mister number " + std::to_string(i * 37 % 100) +
             " stands \xc3\xa9t\xc3\xa9\n";
  put_file(text, lines);
  std::unordered_map<std::string, std::string> settings = {{"input", text},
                                                           {"vocab_size", "48"},
                                                           {"hard_vocab_limit", "false"},
                                                           {"num_threads", "1"},
                                                           {"normalization_rule_name", "identity"},
                                                           {"minloglevel", "3"}};
  for (const auto& [name, value] : options) settings[name] = value;
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, nullptr, &model);
  must(status.ok(), "a seed can't be trained");
  return model;
}

std::vector<std::string> tokenizer_seeds(const std::string& folder) {
  const std::string rules = folder + "/rules.tsv";
  put_file(rules, "41\t61\n42\t62\nE9\t65\n41 42\t63 64\n");
  std::vector<std::string> seeds = {
      get_file(std::string(TH_SOURCE_DIR) + "/tests/data/marian/joint.spm"),
      trained(folder, {{"model_type", "bpe"}}),
      trained(folder, {{"model_type", "unigram"}, {"user_defined_symbols", "<a>,house"}}),
      trained(folder, {{"model_type", "bpe"},
                       {"pad_id", "0"},
                       {"unk_id", "1"},
                       {"bos_id", "2"},
                       {"eos_id", "3"},
                       {"user_defined_symbols", "<a>,<b>"}}),
      trained(folder, {{"model_type", "unigram"}, {"normalization_rule_tsv", rules}}),
      trained(folder, {{"model_type", "bpe"}, {"byte_fallback", "true"}, {"vocab_size", "320"}})};
  seeds.push_back(kPiecesHead + seeds[1]);
  seeds.push_back(kWordsHead + std::string("<pad>\n<unk>\n<s>\n</s>\nhouse\nthe\nof\n"));
  return seeds;
}

/// Text to ids and back, best and drawn.
void use(const Tokenizer& tokenizer) {
  for (const char* line :
       {"", " ", "the house of mister number 7", "<a>house<b> \xe2\x96\x81 x",
        "AB \xc3\xa9\xc3\x89 \xf0\x9f\x98\x80\xf0\x9f\x98\x80", "aaaaaaaaaaaaaaa"}) {
    const std::vector<std::int32_t> ids = tokenizer.encode(line);
    for (const std::int32_t id : ids)
      must(id >= 0 && id < tokenizer.size(), "an id that is none of the vocabulary");
    (void)tokenizer.decode(ids);
    for (const double amount : {0.1, 1.0}) {
      for (const std::int32_t id : tokenizer.sample(line, amount, 7))
        must(id >= 0 && id < tokenizer.size(), "a drawn id that is none of the vocabulary");
    }
  }
  std::vector<std::int32_t> all;
  for (std::int32_t id = 4; id < std::min<std::int64_t>(tokenizer.size(), 1000); ++id)
    all.push_back(id);
  const std::string text = tokenizer.decode(all);
  must(text.find('\n') == std::string::npos && text.find('\0') == std::string::npos,
       "a decoded text is more than a line");
}

void read_own(const std::string& input) {
  const auto tokenizer = data::tokenizer_from(input);
  use(*tokenizer);
  must(data::tokenizer_from(data::tokenizer_bytes(*tokenizer))->tokens() == tokenizer->tokens(),
       "a tokenizer in bytes gives other tokens");
}

void read_tokenizer(const std::string& input, const std::string& /*folder*/) {
  if (input.starts_with(kWordsHead) || input.starts_with(kPiecesHead)) return read_own(input);
  attempt<DataError>([&] {
    const data::ModelIds model = data::read_model_ids(input, "model");
    const auto tokenizer = data::restore_tokenizer(model.tokenizer);
    must(tokenizer->tokens() == model.tokenizer.tokens, "a restored tokenizer has other tokens");
    use(*tokenizer);
  });
  attempt<DataError>([&] {
    std::vector<std::string> pieces = data::ordinary_pieces(input, "model");
    pieces.push_back(data::language_piece(">>fr<<"));
    const std::string ordered = data::model_in_order(input, pieces, "model");
    use(*data::restore_tokenizer(data::read_model_ids(ordered, "ordered").tokenizer));
  });
}

}  // namespace

Reader tokenizer_reader() {
  return {"tokenizer",
          16384,
          {ExitCode::kData},
          {"\n\x08\n\x01s\x15\x31\x0bR\xc0",
           "\x18\x01",
           "\x18\x02",
           "\x18\x03",
           "\x18\x04",
           "\x18\x05",
           "\x18\x06",
           std::string("\x15\x00\x00\xc0\x7f", 5),
           std::string("\x15\x00\x00\x80\xff", 5),
           std::string("\x15\xca\xf2\x49\xf1", 5),
           "<0x41>",
           "\xe2\x96\x81",
           "<unk>",
           "<s>",
           "</s>",
           "<pad>",
           "th_words 1\n",
           "th_pieces 1\n",
           "\n",
           std::string("\0", 1),
           "\x12\x04\x18\x01 \x01",
           "\x12\x04\x18\x02 \x01",
           "\x1a\x02\x12",
           "\x2a\x02\x12",
           "\x98\x02\x01",
           "\x0b",
           "\x0c"},
          tokenizer_seeds,
          read_tokenizer};
}

}  // namespace th::fuzz
