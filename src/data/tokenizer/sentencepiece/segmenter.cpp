#include "data/tokenizer/sentencepiece/segmenter.hpp"

#include <algorithm>

#include "data/tokenizer/sentencepiece/bpe_segmenter.hpp"
#include "data/tokenizer/sentencepiece/unigram_segmenter.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"

namespace th::data {

double SegmentDraws::next() noexcept {
  return static_cast<double>(hash_pair(key_, place_++) >> 11) * 0x1p-53;
}

void PrefixMap::add(std::string_view text, std::int32_t value) {
  for (std::size_t size = 1; size < text.size(); ++size)
    values_.emplace(text.substr(0, size), kPrefix);
  std::int32_t& place = values_.emplace(text, kPrefix).first->second;
  if (place == kPrefix) place = value;
}

std::int32_t PrefixMap::find(std::string_view text) const {
  const auto found = values_.find(text);
  return found == values_.end() ? kNone : found->second;
}

std::size_t character_bytes(std::string_view text) noexcept {
  const auto lead = static_cast<unsigned char>(text.front());
  const std::size_t bytes = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  return std::min(bytes, text.size());
}

Segmenter::Segmenter(const PieceModel& model) : model_(model) {
  using Type = PieceModel::Type;
  std::vector<std::int32_t> bytes;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const PieceModel::Piece& piece = model.pieces[i];
    const auto id = static_cast<std::int32_t>(i);
    if (piece.type == Type::kNormal || piece.type == Type::kUnused) pieces_.add(piece.text, id);
    if (piece.type == Type::kUserDefined) symbols_.add(piece.text, id);
    if (piece.type == Type::kUnknownPiece) unknown_ = id;
    if (piece.type == Type::kByte) bytes.push_back(id);
  }
  if (model.byte_fallback && bytes.size() == 256) bytes_ = std::move(bytes);
}

std::unique_ptr<const Segmenter> Segmenter::make(const PieceModel& model) {
  if (model.kind == PieceModel::Kind::kBpe) return std::make_unique<BpeSegmenter>(model);
  return std::make_unique<UnigramSegmenter>(model);
}

std::size_t Segmenter::symbol_at(std::string_view text) const {
  std::size_t longest = 0;
  for (std::size_t size = 1; size <= text.size(); ++size) {
    const std::int32_t found = symbols_.find(text.substr(0, size));
    if (found == PrefixMap::kNone) break;
    if (found >= 0) longest = size;
  }
  return longest;
}

void Segmenter::append(const Span& span, bool& after_unknown,
                       std::vector<std::int32_t>& ids) const {
  const bool is_unknown = span.id == unknown_;
  if (is_unknown && !bytes_.empty()) {
    for (const char c : span.text) ids.push_back(bytes_[static_cast<unsigned char>(c)]);
  } else if (!is_unknown || !after_unknown) {  // SentencePiece writes a run of unknown ones as one
    ids.push_back(span.id);
  }
  after_unknown = is_unknown;
}

std::vector<std::int32_t> Segmenter::segment(std::string_view text, double amount,
                                             SegmentDraws draws) const {
  std::vector<std::int32_t> ids;
  bool after_unknown = false;
  const auto split_before = [&](std::string_view part) {
    if (part.empty()) return;
    std::vector<Span> spans;
    split(part, amount, draws, spans);
    for (const Span& span : spans) append(span, after_unknown, ids);
  };
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size() && !symbols_.empty();) {
    const std::size_t symbol = symbol_at(text.substr(at));
    if (symbol == 0) {
      at += character_bytes(text.substr(at));
      continue;
    }
    split_before(text.substr(begin, at - begin));
    append({text.substr(at, symbol), symbols_.find(text.substr(at, symbol))}, after_unknown, ids);
    begin = at += symbol;
  }
  split_before(text.substr(begin));
  return ids;
}

}  // namespace th::data
