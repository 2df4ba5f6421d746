#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/data/tokenizer/tokenizer.hpp"

namespace th::app {

/// Another program's ids of the symbols that have fixed ids here; -1: it has none.
struct ForeignSymbols {
  std::int64_t pad = -1, unknown = -1, begin = -1, end = -1;
};

/// A vocabulary of another program in this one's ids.
struct VocabularyRows {
  data::SavedTokenizer tokenizer;
  /// Of each id here, the row of the other program's embeddings and of its output; -1: none.
  std::vector<std::int64_t> inputs, outputs;
};

/// The rows of ids 0 to 3 and of the other tokens in their order, of a vocabulary of `count`.
[[nodiscard]] std::vector<std::int64_t> rows_in_order(const ForeignSymbols& symbols,
                                                      std::int64_t count);

/// The words of a vocabulary of Marian in id order: a map of words to ids (.yml, .yaml, .json), or
/// a word a line. Those from the id `count` on are left out, as Marian does it. Throws DataError
/// where ids are missing or stand twice.
[[nodiscard]] std::vector<std::string> read_words(const std::string& path, std::int64_t count);

/// A vocabulary of Marian for a matrix of `count` rows: of words, or a SentencePiece model (.spm).
/// Throws DataError where sizes contradict each other, and DeckError for kinds that are not
/// covered.
[[nodiscard]] VocabularyRows marian_vocabulary(const std::string& path, std::int64_t count);

/// A file's bytes. Throws DataError.
[[nodiscard]] std::string file_text(const std::string& path);

}  // namespace th::app
