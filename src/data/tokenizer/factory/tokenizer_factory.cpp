#include "th/data/tokenizer/tokenizer_factory.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>

#include "data/tokenizer/sentencepiece/piece_training.hpp"
#include "data/tokenizer/sentencepiece/sentencepiece_tokenizer.hpp"
#include "data/tokenizer/word_tokenizer.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"

namespace th::data {
namespace {

using Shared = std::shared_ptr<const Tokenizer>;

// First line of a tokenizer in bytes.
constexpr std::string_view kWordsHead = "th_words 1\n", kPiecesHead = "th_pieces 1\n";

Shared make_words(const config::DataSection& data, std::span<const TextWalk> texts,
                  const std::string& name) {
  auto words = std::make_shared<const WordTokenizer>(
      WordTokenizer::build(texts, data.min_freq, data.vocab_size));
  bool any = false;
  for (const TextWalk& text : texts) text([&](std::string_view) { any = true; });
  if (any && words->size() <= kEnd + 1)
    throw DataError(name + ": no word occurs data.min_freq = " + std::to_string(data.min_freq) +
                    " times; lower it");
  return words;
}

Shared make_one(const config::DataSection& data, std::span<const TextWalk> texts,
                const std::string& name) {
  if (data.tokenizer == config::TokenizerKind::kWord) return make_words(data, texts, name);
  return std::make_shared<const SentencePieceTokenizer>(train_pieces(data, texts, name),
                                                        name + "'s model");
}

Shared read_model_of(const config::DataSection& data, const std::string& path) {
  Shared model = read_model(path);
  if (model->kind() != data.tokenizer)
    throw DeckError("data.tokenizer = " + std::string(kind_name(data.tokenizer)) + ", and " + path +
                    " is a " + kind_name(model->kind()) +
                    " model; set data.tokenizer = " + kind_name(model->kind()));
  return model;
}

}  // namespace

TokenizerPair make_tokenizers(const config::DataSection& data, bool joint, const TextWalk& source,
                              const TextWalk& target) {
  if (!data.tokenizer_model.empty()) {
    const Shared model = read_model_of(data, data.tokenizer_model);
    return {model, data.target_tokenizer_model.empty()
                       ? model
                       : read_model_of(data, data.target_tokenizer_model)};
  }
  const std::array<TextWalk, 2> texts = {source, target};
  const std::span<const TextWalk> both = texts;
  if (joint) {
    const Shared one = make_one(data, both, data.train_source + ", " + data.train_target);
    return {one, one};
  }
  return {make_one(data, both.first(1), data.train_source),
          make_one(data, both.last(1), data.train_target)};
}

Shared restore_tokenizer(const SavedTokenizer& saved) {
  if (saved.model.empty()) return std::make_shared<const WordTokenizer>(saved.tokens);
  auto pieces = std::make_shared<const SentencePieceTokenizer>(saved.model, "vocabulary");
  if (pieces->tokens() != saved.tokens)
    throw DataError("vocabulary: the tokens are not those of the tokenizer's model beside them");
  return pieces;
}

TokenizerPair restore_tokenizers(const SavedTokenizer& source, const SavedTokenizer& target) {
  const Shared first = restore_tokenizer(source);
  return {first, source == target ? first : restore_tokenizer(target)};
}

Shared read_model(const std::filesystem::path& path) {
  std::error_code status;
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path, status))
    throw DataError(path.string() + ": the tokenizer's model can't be read: " +
                    (file ? "is a folder" : std::strerror(errno)));
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  return std::make_shared<const SentencePieceTokenizer>(std::move(bytes), path.string());
}

std::string tokenizer_bytes(const Tokenizer& tokenizer) {
  if (!tokenizer.model().empty()) return std::string(kPiecesHead) + tokenizer.model();
  std::string bytes(kWordsHead);
  for (const std::string& token : tokenizer.tokens()) bytes += token + '\n';
  return bytes;
}

Shared tokenizer_from(std::string_view bytes) {
  if (bytes.starts_with(kPiecesHead))
    return std::make_shared<const SentencePieceTokenizer>(
        std::string(bytes.substr(kPiecesHead.size())), "the index's tokenizer");
  if (!bytes.starts_with(kWordsHead))
    throw DataError("the index's tokenizer: its bytes are damaged; remove the index");
  std::vector<std::string> tokens;
  for (std::string_view rest = bytes.substr(kWordsHead.size()); !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    tokens.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return std::make_shared<const WordTokenizer>(std::move(tokens));
}

std::string tokenizer_key(const config::DataSection& data, bool joint, const TokenizerPair& given) {
  const auto hash = [](const Tokenizer& t) {
    return std::to_string(hash_text(tokenizer_bytes(t)));
  };
  if (!given.empty()) return "given " + hash(*given.source) + " " + hash(*given.target);
  if (!data.tokenizer_model.empty()) {
    const std::string& target = data.target_tokenizer_model;
    std::string key = "model ";
    key += hash(*read_model(data.tokenizer_model));
    if (!target.empty()) key.append(" ").append(hash(*read_model(target)));
    return key;
  }
  std::string key = std::string(kind_name(data.tokenizer)) + (joint ? " joint" : " separate") +
                    " size=" + std::to_string(data.vocab_size);
  if (data.tokenizer == config::TokenizerKind::kWord)
    return key + " min_freq=" + std::to_string(data.min_freq);
  return key + " coverage=" + std::to_string(data.character_coverage) +
         " rule=" + std::to_string(static_cast<int>(data.normalization)) +
         (data.byte_fallback ? " bytes" : "") + " symbols=" + data.user_symbols;
}

bool wants_text(const config::DataSection& data) { return data.subword_sampling > 0; }

}  // namespace th::data
