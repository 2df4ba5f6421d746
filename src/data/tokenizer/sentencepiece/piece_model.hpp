#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace th::data {

/// What a SentencePiece model's bytes say of its pieces (sentencepiece_model.proto). The library
/// does not tell a piece's type nor the model's kind, and its file of messages is not installed, so
/// the bytes are read here: fields by number and wire type.
struct PieceModel {
  enum class Type {
    kNormal = 1,
    kUnknownPiece = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };
  enum class Kind { kUnigram = 1, kBpe = 2, kWord = 3, kCharacter = 4 };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
  };
  std::vector<Piece> pieces;  ///< in the order of the model's ids
  Kind kind = Kind::kUnigram;
  bool byte_fallback = false;
};

/// Throws DataError, beginning with `name`, for bytes that are no such model.
[[nodiscard]] PieceModel parse_piece_model(std::string_view bytes, const std::string& name);

/// The model with other pieces, the first four of which are padding, unknown, begin and end, and
/// without the samples that its writer tested it with; all else as it is. Throws DataError as
/// parse_piece_model.
[[nodiscard]] std::string with_pieces(std::string_view bytes,
                                      std::span<const PieceModel::Piece> pieces,
                                      const std::string& name);

}  // namespace th::data
