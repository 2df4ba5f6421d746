#pragma once

#include <unordered_map>

#include "th/data/tokenizer/text_walk.hpp"
#include "th/data/tokenizer/tokenizer.hpp"

namespace th::data {

/// Splits at ASCII white space only and keeps case.
class WordTokenizer final : public Tokenizer {
 public:
  /// `tokens` in id order, the four special ones first. Throws DataError where they are not, or
  /// where a token occurs twice.
  explicit WordTokenizer(std::vector<std::string> tokens);
  /// Words with at least `min_freq` occurrences in all texts by falling count, ties in byte order;
  /// `vocab_size` caps all tokens, 0: no cap.
  [[nodiscard]] static WordTokenizer build(std::span<const TextWalk> texts, std::int64_t min_freq,
                                           std::int64_t vocab_size);
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view line) const override;
  [[nodiscard]] std::vector<std::int32_t> sample(std::string_view line, double amount,
                                                 std::uint64_t key) const override;
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const override;
  [[nodiscard]] config::TokenizerKind kind() const noexcept override {
    return config::TokenizerKind::kWord;
  }
  [[nodiscard]] const std::vector<std::string>& tokens() const noexcept override { return tokens_; }
  [[nodiscard]] const std::string& model() const noexcept override { return no_model_; }

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::string no_model_;
};

}  // namespace th::data
