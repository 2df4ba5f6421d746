#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "th/data/tokenizer/tokenizer.hpp"

namespace th::data {

/// A mark of a line's language that a shared vocabulary has beside SentencePiece's pieces, as
/// ">>fr<<".
[[nodiscard]] bool is_language_mark(std::string_view token);
/// The piece by which a SentencePiece model cuts such a mark out of a line's beginning: with
/// SentencePiece's sign of a blank before it.
[[nodiscard]] std::string language_piece(std::string_view mark);

/// A user's SentencePiece model as a tokenizer, and of each of its ids the id in the model's file;
/// -1: the model has none.
struct ModelIds {
  SavedTokenizer tokenizer;
  std::vector<std::int32_t> ids;
};
/// Of a model's bytes; `name` stands in messages. Throws DataError as read_model().
[[nodiscard]] ModelIds read_model_ids(std::string bytes, const std::string& name);

/// The texts of a SentencePiece model's pieces but the unknown and control ones. Throws DataError,
/// beginning with `name`, for bytes that are no such model.
[[nodiscard]] std::vector<std::string> ordinary_pieces(std::string_view bytes,
                                                       const std::string& name);

/// The SentencePiece model `bytes` with the ids of another program's vocabulary: <pad>, <unk>, <s>
/// and </s>, then `tokens` in their order. A token that is no piece of the model never comes of
/// segmenting a line, but for a language_piece(). A piece that `tokens` lacks is left out, so that
/// a line is segmented without it. Throws DataError, beginning with `name`: where the bytes are no
/// model, and where pieces would be left out of a bpe model, which needs them to merge.
[[nodiscard]] std::string model_in_order(std::string_view bytes,
                                         const std::vector<std::string>& tokens,
                                         const std::string& name);

}  // namespace th::data
