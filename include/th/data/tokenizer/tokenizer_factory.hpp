#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "th/config/run_config.hpp"
#include "th/data/tokenizer/text_walk.hpp"
#include "th/data/tokenizer/tokenizer.hpp"

namespace th::data {

/// The tokenizers of both sides; one object where the vocabulary is joint.
struct TokenizerPair {
  std::shared_ptr<const Tokenizer> source, target;
  [[nodiscard]] bool empty() const noexcept { return !source; }
};

/// A SentencePiece model learns from at most kTrainingLines lines, evenly spaced over the text (of
/// both sides where the vocabulary is joint), and from no line of more than kTrainingLineBytes.
inline constexpr std::int64_t kTrainingLines = 1'000'000, kTrainingLineBytes = 16'384;
/// data.vocab_size 0 of a SentencePiece model.
inline constexpr std::int64_t kDefaultPieces = 8000;

/// The tokenizers that the deck asks for: those of data.tokenizer_model, else made from the
/// training text. The same bytes whoever makes them: one thread, no draws. Throws DataError, naming
/// the text or the model's file, where it gives no tokenizer as it was asked for, and DeckError
/// where the model is of another kind than data.tokenizer.
[[nodiscard]] TokenizerPair make_tokenizers(const config::DataSection& data, bool joint,
                                            const TextWalk& source, const TextWalk& target);

/// The tokenizer of saved tokens and bytes. Throws DataError where they are damaged or do not
/// belong together.
[[nodiscard]] std::shared_ptr<const Tokenizer> restore_tokenizer(const SavedTokenizer& saved);
/// Of both sides: one object where they are the same.
[[nodiscard]] TokenizerPair restore_tokenizers(const SavedTokenizer& source,
                                               const SavedTokenizer& target);
/// The tokenizer of a user's SentencePiece model: ids 0 to 3 are ours, then come the model's other
/// pieces in their order. Throws DataError, naming the ids, where special symbols can't be mapped.
[[nodiscard]] std::shared_ptr<const Tokenizer> read_model(const std::filesystem::path& path);

/// A tokenizer in bytes, for a file of this program.
[[nodiscard]] std::string tokenizer_bytes(const Tokenizer& tokenizer);
/// What tokenizer_bytes made. Throws DataError for damaged bytes.
[[nodiscard]] std::shared_ptr<const Tokenizer> tokenizer_from(std::string_view bytes);

/// Text of every key that ids depend on, or of the tokenizers that take the place of the deck's: an
/// index whose text is another was made by other tokenizers.
[[nodiscard]] std::string tokenizer_key(const config::DataSection& data, bool joint,
                                        const TokenizerPair& given = {});
/// Whether training needs the lines themselves beside their ids: segmentations are drawn anew.
[[nodiscard]] bool wants_text(const config::DataSection& data);

}  // namespace th::data
