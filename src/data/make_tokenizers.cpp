#include "th/data/make_tokenizers.hpp"

#include <algorithm>
#include <initializer_list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/data/text.hpp"

namespace th::data {

namespace {

std::shared_ptr<const Tokenizer> build(std::initializer_list<const TextWalk*> walks,
                                       const config::DataSection& data) {
  std::unordered_map<std::string, std::int64_t> counts;
  for (const TextWalk* walk : walks)
    (*walk)([&](std::string_view line) {
      for (const std::string_view word : split_words(line)) ++counts[std::string(word)];
    });
  std::vector<std::string> tokens = {"<pad>", "<unk>", "<s>", "</s>"};
  for (const std::string& special : tokens) counts.erase(special);
  std::vector<std::pair<std::string, std::int64_t>> words;
  for (const auto& entry : counts)
    if (entry.second >= data.min_freq) words.emplace_back(entry);
  std::sort(words.begin(), words.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  for (auto& entry : words) {
    if (data.vocab_size > 0 && std::ssize(tokens) >= data.vocab_size) break;
    tokens.push_back(std::move(entry.first));
  }
  return std::make_shared<const WordTokenizer>(std::move(tokens));
}

}  // namespace

TokenizerPair make_tokenizers(const config::DataSection& data, bool joint_vocabulary,
                              const TextWalk& source, const TextWalk& target) {
  if (data.tokenizer != config::TokenizerKind::kWord)
    throw DeckError("data.tokenizer: this build has the word tokenizer; set data.tokenizer=word");
  TokenizerPair pair;
  if (joint_vocabulary) {
    pair.source = pair.target = build({&source, &target}, data);
  } else {
    pair.source = build({&source}, data);
    pair.target = build({&target}, data);
  }
  return pair;
}

std::string tokenizer_bytes(const Tokenizer& tokenizer) {
  std::string bytes;
  for (const std::string& token : tokenizer.tokens()) bytes += token + "\n";
  return bytes;
}

std::shared_ptr<const Tokenizer> tokenizer_from(std::string_view bytes) {
  std::vector<std::string> tokens;
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\n'), bytes.size());
    tokens.emplace_back(bytes.substr(0, end));
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
  }
  return std::make_shared<const WordTokenizer>(std::move(tokens));
}

std::string tokenizer_key(const config::DataSection& data, bool joint_vocabulary,
                          const TokenizerPair& given) {
  if (given.source)
    return "given tokenizers " + std::to_string(hash_text(tokenizer_bytes(*given.source))) + " " +
           std::to_string(hash_text(tokenizer_bytes(*given.target)));
  constexpr const char* kNames[] = {"word", "bpe", "unigram"};
  return std::string("data.tokenizer=") + kNames[static_cast<int>(data.tokenizer)] +
         " data.vocab_size=" + std::to_string(data.vocab_size) +
         " data.min_freq=" + std::to_string(data.min_freq) +
         (joint_vocabulary ? " one vocabulary" : " two vocabularies");
}

bool wants_text(const config::DataSection&) { return false; }

}  // namespace th::data
