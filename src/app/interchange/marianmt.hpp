#pragma once

#include <cstdint>
#include <string>

#include "app/interchange/foreign_model.hpp"

namespace th::app {

/// What config.json of a MarianMT model says, as far as it is covered.
struct MarianmtOptions {
  std::int64_t width = 0, heads = 0, inner = 0, encoder_layers = 0, decoder_layers = 0, tokens = 0;
  std::int64_t pad = -1, end = -1, start = -1;  ///< ids
  std::string activation;                       ///< as the deck has it
  /// Rates, as text of the deck.
  std::string dropout, attention_dropout, activation_dropout;
};

/// Throws DeckError with a line for each entry that is not covered, CheckpointError where the text
/// is no such configuration; `path` stands in messages.
[[nodiscard]] MarianmtOptions read_marianmt_options(const std::string& json,
                                                    const std::string& path);

/// The files of a MarianMT model.
struct MarianmtFiles {
  std::string folder;  ///< with config.json, model.safetensors and, where there is one, vocab.json
  std::string source_pieces, target_pieces;  ///< SentencePiece models; empty: those of the folder
};

/// Both sides' tokenizers over the model's one vocabulary: vocab.json gives the ids, the
/// SentencePiece models segment. Without vocab.json their own ids are taken, and padding follows.
/// `starts_with_symbol`: the row of the start symbol is what decoding begins with. Throws
/// DataError, and DeckError where the vocabulary is not covered.
struct MarianmtVocabularies {
  VocabularyRows source, target;
};
[[nodiscard]] MarianmtVocabularies marianmt_vocabularies(const MarianmtFiles& files,
                                                         const MarianmtOptions& options,
                                                         bool starts_with_symbol);

/// A MarianMT model of the library transformers. Throws as the above; DeckError for tensors that no
/// covered option has.
[[nodiscard]] ForeignModel read_marianmt(const MarianmtFiles& files);

}  // namespace th::app
