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

/// The tokenizers of both sides; one object if the vocabulary is joint.
struct TokenizerPair {
  std::shared_ptr<const Tokenizer> source, target;
  [[nodiscard]] bool empty() const noexcept { return !source; }
};

/// A SentencePiece model learns from at most kTrainingLines lines, evenly spaced over the text (of
/// both sides where the vocabulary is joint), and from no line of more than kTrainingLineBytes.
inline constexpr std::int64_t kTrainingLines = 1'000'000, kTrainingLineBytes = 16'384;
/// The pieces of a SentencePiece model with data.vocab_size 0.
inline constexpr std::int64_t kDefaultPieces = 8000;

/// The tokenizers that the deck asks for: those of data.tokenizer_model, or tokenizers made from
/// the training text. They are made by one thread without draws, so every rank would get the same
/// bytes. Throws DataError, which names the text or the model's file, if it does not give such a
/// tokenizer, and DeckError if the model is of another kind than data.tokenizer.
[[nodiscard]] TokenizerPair make_tokenizers(const config::DataSection& data, bool joint,
                                            const TextWalk& source, const TextWalk& target);

/// The tokenizer of saved tokens and bytes. Throws DataError if they are damaged or do not belong
/// together.
[[nodiscard]] std::shared_ptr<const Tokenizer> restore_tokenizer(const SavedTokenizer& saved);
/// The same for both sides; one object if they are equal.
[[nodiscard]] TokenizerPair restore_tokenizers(const SavedTokenizer& source,
                                               const SavedTokenizer& target);
/// The tokenizer of a user's SentencePiece model: ids 0 to 3 are ours, then come the model's other
/// pieces in their order. Throws DataError, which names the ids, if special symbols can't be
/// mapped.
[[nodiscard]] std::shared_ptr<const Tokenizer> read_model(const std::filesystem::path& path);

/// A tokenizer as bytes, for files that only this program reads.
[[nodiscard]] std::string tokenizer_bytes(const Tokenizer& tokenizer);
/// The tokenizer from which tokenizer_bytes made these. Throws DataError for damaged bytes.
[[nodiscard]] std::shared_ptr<const Tokenizer> tokenizer_from(std::string_view bytes);

/// A text of every key on which ids depend, or of the tokenizers that are given in place of the
/// deck's. An index with another text was made by other tokenizers.
[[nodiscard]] std::string tokenizer_key(const config::DataSection& data, bool joint,
                                        const TokenizerPair& given = {});
/// Whether training needs the lines beside their ids, because segmentations are drawn anew.
[[nodiscard]] bool wants_text(const config::DataSection& data);

}  // namespace th::data
