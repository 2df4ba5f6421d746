#include "th/data/tokenizer/model_order.hpp"

#include <map>

#include "data/tokenizer/sentencepiece/piece_model.hpp"
#include "data/tokenizer/sentencepiece/sentencepiece_tokenizer.hpp"
#include "th/base/error.hpp"

namespace th::data {
namespace {

using Piece = PieceModel::Piece;
using Type = PieceModel::Type;

constexpr std::string_view kBlank = "\xe2\x96\x81", kMarkBegin = ">>", kMarkEnd = "<<";

bool is_ordinary(const Piece& piece) {
  return piece.type != Type::kControl && piece.type != Type::kUnknownPiece;
}

}  // namespace

bool is_language_mark(std::string_view token) {
  return token.size() > kMarkBegin.size() + kMarkEnd.size() && token.starts_with(kMarkBegin) &&
         token.ends_with(kMarkEnd);
}

std::string language_piece(std::string_view mark) {
  return std::string(kBlank) + std::string(mark);
}

ModelIds read_model_ids(std::string bytes, const std::string& name) {
  const SentencePieceTokenizer model(std::move(bytes), name);
  return {model.saved(), model.model_ids()};
}

std::vector<std::string> ordinary_pieces(std::string_view bytes, const std::string& name) {
  std::vector<std::string> texts;
  for (const Piece& piece : parse_piece_model(bytes, name).pieces)
    if (is_ordinary(piece)) texts.push_back(piece.text);
  return texts;
}

std::string model_in_order(std::string_view bytes, const std::vector<std::string>& tokens,
                           const std::string& name) {
  const PieceModel model = parse_piece_model(bytes, name);
  std::map<std::string_view, const Piece*> known;
  for (const Piece& piece : model.pieces)
    if (is_ordinary(piece)) known.emplace(piece.text, &piece);
  std::vector<Piece> pieces = {{"<pad>", 0, Type::kControl},
                               {"<unk>", 0, Type::kUnknownPiece},
                               {"<s>", 0, Type::kControl},
                               {"</s>", 0, Type::kControl}};
  for (const std::string& token : tokens) {
    const auto found = known.find(token);
    const bool mark = token.starts_with(kBlank) &&
                      is_language_mark(std::string_view(token).substr(kBlank.size()));
    if (found != known.end()) {
      pieces.push_back(*found->second);
      known.erase(found);
    } else {
      pieces.push_back({token, 0, mark ? Type::kUserDefined : Type::kUnused});
    }
  }
  if (model.kind == PieceModel::Kind::kBpe && !known.empty())
    throw DataError(name + ": " + std::to_string(known.size()) +
                    " of its pieces are not in the vocabulary, as '" +
                    std::string(known.begin()->first) +
                    "'; a bpe model merges by way of them, so it can't be taken over");
  return with_pieces(bytes, pieces, name);
}

}  // namespace th::data
