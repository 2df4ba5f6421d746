#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "th/data/batch.hpp"

namespace th::data {

/// Text to ids and back. Ids 0 to 3 are kPad, kUnknown, kBegin, kEnd in every tokenizer. Immutable:
/// safe to share among threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// The ids of the line's tokens alone, without begin and end.
  [[nodiscard]] virtual std::vector<std::int32_t> encode(std::string_view line) const = 0;
  /// Text up to the first kEnd; kPad and kBegin are left out. Throws DataError for an id outside.
  [[nodiscard]] virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  [[nodiscard]] virtual std::int64_t size() const noexcept = 0;
  /// The tokens in id order, as a checkpoint stores them.
  [[nodiscard]] virtual const std::vector<std::string>& tokens() const noexcept = 0;
};

/// Splits at ASCII white space only and keeps case.
class WordTokenizer final : public Tokenizer {
 public:
  /// `tokens` in id order, the four special ones first. Throws DataError where they are not, or
  /// where a token occurs twice.
  explicit WordTokenizer(std::vector<std::string> tokens);
  /// Words with at least `min_freq` occurrences by falling count, ties in byte order; `vocab_size`
  /// caps all tokens, 0: no cap.
  [[nodiscard]] static WordTokenizer build(std::span<const std::span<const std::string>> texts,
                                           std::int64_t min_freq, std::int64_t vocab_size);
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view line) const override;
  [[nodiscard]] std::string decode(std::span<const std::int32_t> ids) const override;
  [[nodiscard]] std::int64_t size() const noexcept override {
    return static_cast<std::int64_t>(tokens_.size());
  }
  [[nodiscard]] const std::vector<std::string>& tokens() const noexcept override { return tokens_; }

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int32_t> ids_;
};

/// Words and end, cut to `max_length` ids in all, end kept.
[[nodiscard]] std::vector<std::int32_t> encode_source(const Tokenizer& tokenizer,
                                                      std::string_view line,
                                                      std::int64_t max_length);
/// Begin, words and end, cut to `max_length` ids in all, end kept.
[[nodiscard]] std::vector<std::int32_t> encode_target(const Tokenizer& tokenizer,
                                                      std::string_view line,
                                                      std::int64_t max_length);

}  // namespace th::data
