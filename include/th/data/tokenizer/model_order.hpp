#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "th/data/tokenizer/tokenizer.hpp"

namespace th::data {

/// Whether a token marks a line's language. A shared vocabulary has such tokens, as ">>fr<<",
/// beside SentencePiece's pieces.
[[nodiscard]] bool is_language_mark(std::string_view token);
/// The piece by which a SentencePiece model finds such a mark at a line's beginning: the mark with
/// SentencePiece's sign of a blank before it.
[[nodiscard]] std::string language_piece(std::string_view mark);

/// A user's SentencePiece model as a tokenizer, and for each of its ids the id in the model's file,
/// or -1 if the file has none.
struct ModelIds {
  SavedTokenizer tokenizer;
  std::vector<std::int32_t> ids;
};
/// Reads a model's bytes; messages name it `name`. Throws DataError as read_model() does.
[[nodiscard]] ModelIds read_model_ids(std::string bytes, const std::string& name);

/// The texts of a SentencePiece model's pieces, without the unknown and control pieces. Throws
/// DataError, beginning with `name`, for bytes that are no such model.
[[nodiscard]] std::vector<std::string> ordinary_pieces(std::string_view bytes,
                                                       const std::string& name);

/// The SentencePiece model `bytes` with the ids of another program's vocabulary: <pad>, <unk>, <s>
/// and </s>, then `tokens` in their order. A token that is no piece of the model never results from
/// segmenting a line, unless it is a language mark. A piece that `tokens` lacks is left out, so a
/// line is segmented without it. Throws DataError, which begins with `name`, if the bytes are no
/// model, or if pieces would be left out of a bpe model, which needs them to merge.
[[nodiscard]] std::string model_in_order(std::string_view bytes,
                                         const std::vector<std::string>& tokens,
                                         const std::string& name);

}  // namespace th::data
