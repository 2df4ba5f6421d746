#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/tokenizer/special_ids.hpp"

namespace th::data {

/// A tokenizer as a checkpoint stores it.
struct SavedTokenizer {
  std::vector<std::string> tokens;  ///< in id order
  std::string model;                ///< a SentencePiece model's bytes; empty: the tokens are words
  friend bool operator==(const SavedTokenizer&, const SavedTokenizer&) = default;
};

/// Turns text into ids and ids into text. Ids 0 to 3 are kPad, kUnknown, kBegin, kEnd in every
/// tokenizer. It is immutable, so threads may share it.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// The ids of the line's tokens, without begin and end. Throws DataError if the line can't be
  /// segmented.
  [[nodiscard]] virtual std::vector<std::int32_t> encode(std::string_view line) const = 0;
  /// One of the line's segmentations: `amount` is data.subword_sampling (bpe: the probability that
  /// a merge is left out; unigram: the exponent of a segmentation's probability), and the draws are
  /// hashes of `key` and their places. 0 gives encode(line). Words have one segmentation.
  [[nodiscard]] virtual std::vector<std::int32_t> sample(std::string_view line, double amount,
                                                         std::uint64_t key) const = 0;
  /// The text of the ids before the first kEnd, without kPad and kBegin. It is one line: a line end
  /// or a zero byte that a model writes becomes a blank. Throws DataError for an id outside the
  /// vocabulary.
  [[nodiscard]] virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  [[nodiscard]] virtual config::TokenizerKind kind() const noexcept = 0;
  /// The tokens in id order.
  [[nodiscard]] virtual const std::vector<std::string>& tokens() const noexcept = 0;
  /// A SentencePiece model's bytes; empty for words.
  [[nodiscard]] virtual const std::string& model() const noexcept = 0;

  [[nodiscard]] std::int64_t size() const noexcept { return std::ssize(tokens()); }
  [[nodiscard]] SavedTokenizer saved() const { return {tokens(), model()}; }
};

/// "word", "bpe" or "unigram".
[[nodiscard]] const char* kind_name(config::TokenizerKind kind) noexcept;

/// A length that cuts no line.
inline constexpr std::int64_t kUncut = std::numeric_limits<std::int64_t>::max();

/// `ids` and the end, cut to `max_length` ids in all; the end stays.
[[nodiscard]] std::vector<std::int32_t> framed_source(std::vector<std::int32_t> ids,
                                                      std::int64_t max_length);
/// The begin, `ids` and the end, cut to `max_length` ids in all; the end stays.
[[nodiscard]] std::vector<std::int32_t> framed_target(std::vector<std::int32_t> ids,
                                                      std::int64_t max_length);
/// framed_source of the line's ids.
[[nodiscard]] std::vector<std::int32_t> encode_source(const Tokenizer& tokenizer,
                                                      std::string_view line,
                                                      std::int64_t max_length);
/// framed_target of the line's ids.
[[nodiscard]] std::vector<std::int32_t> encode_target(const Tokenizer& tokenizer,
                                                      std::string_view line,
                                                      std::int64_t max_length);

}  // namespace th::data
