#include "data/tokenizer/sentencepiece/sentencepiece_tokenizer.hpp"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <array>
#include <utility>

#include "data/tokenizer/text_ids.hpp"
#include "th/base/error.hpp"

namespace th::data {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
  throw DataError(name +
                  ": the model's special symbols can't be mapped to pad 0, unknown 1, begin "
                  "2, end 3: " +
                  why);
}

const char* type_name(PieceModel::Type type) {
  switch (type) {
    case PieceModel::Type::kUnknownPiece:
      return "unknown";
    case PieceModel::Type::kControl:
      return "control";
    case PieceModel::Type::kUserDefined:
      return "user-defined";
    case PieceModel::Type::kUnused:
      return "unused";
    case PieceModel::Type::kByte:
      return "byte";
    case PieceModel::Type::kNormal:
      break;
  }
  return "normal";
}

std::unique_ptr<const sentencepiece::SentencePieceProcessor> loaded(const std::string& bytes,
                                                                    const std::string& name) {
  const auto refuse_model = [&](const std::string& why) {
    throw DataError(name + ": SentencePiece can't read the model: " + why);
  };
  auto processor = std::make_unique<sentencepiece::SentencePieceProcessor>();
  try {
    if (const auto status = processor->LoadFromSerializedProto(bytes); !status.ok())
      refuse_model(status.message());
  } catch (const DataError&) {
    throw;
  } catch (const std::exception& error) {  // of the array that it makes of the pieces
    refuse_model(error.what());
  }
  return processor;
}

}  // namespace

SentencePieceTokenizer::SentencePieceTokenizer(std::string model, const std::string& name)
    : bytes_(std::move(model)), pieces_(parse_piece_model(bytes_, name)) {
  if (pieces_.kind != PieceModel::Kind::kBpe && pieces_.kind != PieceModel::Kind::kUnigram)
    throw DataError(name +
                    ": is a SentencePiece model of whole words or characters; bpe and unigram "
                    "models are read");
  processor_ = loaded(bytes_, name);
  // Its ids lead into tables that are made of our reading.
  if (processor_->GetPieceSize() != std::ssize(pieces_.pieces))
    throw DataError(name + ": SentencePiece reads " + std::to_string(processor_->GetPieceSize()) +
                    " pieces of the model where its bytes hold " +
                    std::to_string(pieces_.pieces.size()));
  map_ids(name);
  segmenter_ = Segmenter::make(pieces_);
}

SentencePieceTokenizer::~SentencePieceTokenizer() = default;

void SentencePieceTokenizer::map_ids(const std::string& name) {
  const std::array<int, 4> special = {processor_->pad_id(), processor_->unk_id(),
                                      processor_->bos_id(), processor_->eos_id()};
  theirs_.assign(special.begin(), special.end());
  ours_.assign(pieces_.pieces.size(), kUnknown);
  tokens_.assign(kSpecialTokens.begin(), kSpecialTokens.end());
  for (std::size_t i = 0; i < special.size(); ++i) {
    if (special[i] < 0) continue;
    for (std::size_t k = 0; k < i; ++k) {
      if (special[k] == special[i])
        refuse(name, std::string(kSpecialTokens[k]) + " and " + kSpecialTokens[i] +
                         " both have the id " + std::to_string(special[i]));
    }
    ours_[static_cast<std::size_t>(special[i])] = static_cast<std::int32_t>(i);
  }
  for (std::size_t id = 0; id < pieces_.pieces.size(); ++id) {
    if (std::find(special.begin(), special.end(), static_cast<int>(id)) != special.end()) continue;
    const PieceModel::Piece& piece = pieces_.pieces[id];
    if (std::find(kSpecialTokens.begin(), kSpecialTokens.end(), piece.text) != kSpecialTokens.end())
      refuse(name, "its id " + std::to_string(id) + " is a " + type_name(piece.type) + " piece " +
                       piece.text + ", which is no special symbol of the model");
    ours_[id] = static_cast<std::int32_t>(tokens_.size());
    theirs_.push_back(static_cast<std::int32_t>(id));
    tokens_.push_back(piece.text);
  }
}

config::TokenizerKind SentencePieceTokenizer::kind() const noexcept {
  return pieces_.kind == PieceModel::Kind::kBpe ? config::TokenizerKind::kBpe
                                                : config::TokenizerKind::kUnigram;
}

std::vector<std::int32_t> SentencePieceTokenizer::encode(std::string_view line) const {
  std::vector<int> ids;
  if (const auto status = processor_->Encode(line, &ids); !status.ok())
    throw DataError(std::string("SentencePiece can't segment a line: ") + status.message());
  for (int& id : ids) id = ours_[static_cast<std::size_t>(id)];
  return ids;
}

std::string SentencePieceTokenizer::normalized(std::string_view line) const {
  const sentencepiece::ImmutableSentencePieceText pieces = processor_->EncodeAsImmutableProto(line);
  std::string text;
  for (std::size_t i = 0; i < pieces.pieces_size(); ++i) {
    const auto piece = pieces.pieces(static_cast<int>(i));
    const std::string& spelling = piece.piece();
    if (pieces_.pieces[piece.id()].type != PieceModel::Type::kByte)
      text += spelling;
    else  // "<0xE4>"
      text += static_cast<char>(std::stoi(spelling.substr(3, 2), nullptr, 16));
  }
  return text;
}

std::vector<std::int32_t> SentencePieceTokenizer::segment(std::string_view line, double amount,
                                                          std::uint64_t key) const {
  std::vector<std::int32_t> ids = segmenter_->segment(normalized(line), amount, SegmentDraws(key));
  for (std::int32_t& id : ids) id = ours_[static_cast<std::size_t>(id)];
  return ids;
}

std::vector<std::int32_t> SentencePieceTokenizer::sample(std::string_view line, double amount,
                                                         std::uint64_t key) const {
  return amount > 0 ? segment(line, amount, key) : encode(line);
}

std::string SentencePieceTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::vector<int> theirs;
  for (const std::int32_t id : text_ids(ids, size()))
    theirs.push_back(theirs_[static_cast<std::size_t>(id)]);
  std::string text;
  if (const auto status = processor_->Decode(theirs, &text); !status.ok())
    throw DataError(std::string("SentencePiece can't join pieces: ") + status.message());
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r' || c == '\0'; }, ' ');
  return text;
}

}  // namespace th::data
