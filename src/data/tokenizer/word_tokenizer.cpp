#include "data/tokenizer/word_tokenizer.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "data/tokenizer/text_ids.hpp"
#include "th/base/error.hpp"
#include "th/data/tokenizer/words.hpp"

namespace th::data {
namespace {

bool is_special(std::string_view word) {
  return std::find(kSpecialTokens.begin(), kSpecialTokens.end(), word) != kSpecialTokens.end();
}

/// Looked up by views of lines, which need not be copied for it.
struct WordHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view word) const noexcept {
    return std::hash<std::string_view>{}(word);
  }
};

}  // namespace

WordTokenizer::WordTokenizer(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {
  for (std::size_t i = 0; i < kSpecialTokens.size(); ++i)
    if (i >= tokens_.size() || tokens_[i] != kSpecialTokens[i])
      throw DataError("vocabulary: token " + std::to_string(i) + " is not " + kSpecialTokens[i] +
                      "; the list is damaged or of another program");
  for (std::size_t i = 0; i < tokens_.size(); ++i)
    if (tokens_[i].find_first_of(std::string_view("\0\n\r", 3)) != std::string::npos)
      throw DataError("vocabulary: token " + std::to_string(i) +
                      " holds a line end or a zero byte, which no word has; the list is damaged");
  for (std::size_t i = 0; i < tokens_.size(); ++i)
    if (!ids_.emplace(tokens_[i], static_cast<std::int32_t>(i)).second)
      throw DataError("vocabulary: token '" + tokens_[i] + "' occurs twice");
}

WordTokenizer WordTokenizer::build(std::span<const TextWalk> texts, std::int64_t min_freq,
                                   std::int64_t vocab_size) {
  std::unordered_map<std::string, std::int64_t, WordHash, std::equal_to<>> counts;
  for (const TextWalk& lines : texts) {
    lines([&](std::string_view line) {
      for (const std::string_view word : split_words(line)) {
        const auto found = counts.find(word);
        if (found == counts.end())
          counts.emplace(word, 1);
        else
          ++found->second;
      }
    });
  }
  std::vector<std::pair<std::string_view, std::int64_t>> words;
  for (const auto& entry : counts)
    if (entry.second >= min_freq && !is_special(entry.first)) words.emplace_back(entry);
  std::sort(words.begin(), words.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  std::vector<std::string> tokens(kSpecialTokens.begin(), kSpecialTokens.end());
  for (const auto& entry : words) {
    if (vocab_size > 0 && std::ssize(tokens) >= vocab_size) break;
    tokens.emplace_back(entry.first);
  }
  return WordTokenizer(std::move(tokens));
}

std::vector<std::int32_t> WordTokenizer::encode(std::string_view line) const {
  std::vector<std::int32_t> ids;
  for (const std::string_view word : split_words(line)) {
    const auto found = ids_.find(std::string(word));
    ids.push_back(found == ids_.end() || found->second <= kEnd ? kUnknown : found->second);
  }
  return ids;
}

std::vector<std::int32_t> WordTokenizer::sample(std::string_view line, double /*amount*/,
                                                std::uint64_t /*key*/) const {
  return encode(line);
}

std::string WordTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : text_ids(ids, size())) {
    if (!text.empty()) text += ' ';
    text += tokens_[static_cast<std::size_t>(id)];
  }
  return text;
}

}  // namespace th::data
