#include "data/tokenizer/sentencepiece/piece_model.hpp"

#include <bit>
#include <cstring>

#include "th/base/error.hpp"

namespace th::data {
namespace {

/// A field of a message: its number, and its value by the wire type: a number, or bytes.
struct WireField {
  std::uint64_t number = 0;
  std::uint64_t value = 0;
  std::string_view bytes;
  std::string_view whole;  ///< with its tag, as it stands in the message
};

/// Reads the fields of one message, one after the other.
class MessageReader {
 public:
  MessageReader(std::string_view bytes, const std::string& name) : rest_(bytes), name_(name) {}

  [[nodiscard]] bool next(WireField& field) {
    if (rest_.empty()) return false;
    const std::string_view begin = rest_;
    const std::uint64_t tag = varint();
    field = {tag >> 3, 0, {}, {}};
    switch (tag & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.value = fixed(4);
        break;
      default:
        fail();
    }
    field.whole = begin.substr(0, begin.size() - rest_.size());
    return true;
  }

 private:
  [[noreturn]] void fail() const {
    throw DataError(name_ + ": is no SentencePiece model: its bytes can't be read");
  }
  std::string_view take(std::uint64_t count) {
    if (count > rest_.size()) fail();
    const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(count));
    rest_.remove_prefix(static_cast<std::size_t>(count));
    return taken;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    fail();
  }
  std::uint64_t fixed(std::size_t size) {
    const std::string_view bytes = take(size);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i)
      value |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    return value;
  }

  std::string_view rest_;
  const std::string& name_;
};

// Numbers of fields in sentencepiece_model.proto.
enum ModelField : std::uint64_t { kPieces = 1, kTrainer = 2, kSelfTest = 4 };
enum PieceField : std::uint64_t { kText = 1, kScore = 2, kType = 3 };
enum TrainerField : std::uint64_t {
  kModelType = 3,
  kSize = 4,
  kByteFallback = 35,
  kUnknownId = 40,
  kBeginId = 41,
  kEndId = 42,
  kPadId = 43,
  kUnknownText = 45,
  kBeginText = 46,
  kEndText = 47,
  kPadText = 48
};

/// Writes the fields of one message.
class MessageWriter {
 public:
  MessageWriter& varint(std::uint64_t field, std::uint64_t value) {
    raw(field << 3);
    raw(value);
    return *this;
  }
  MessageWriter& text(std::uint64_t field, std::string_view value) {
    raw(field << 3 | 2);
    raw(value.size());
    bytes_ += value;
    return *this;
  }
  MessageWriter& number(std::uint64_t field, float value) {
    raw(field << 3 | 5);
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (unsigned shift = 0; shift < 32; shift += 8) bytes_ += static_cast<char>(bits >> shift);
    return *this;
  }
  MessageWriter& whole(std::string_view field) {
    bytes_ += field;
    return *this;
  }
  [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }

 private:
  void raw(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

PieceModel::Piece read_piece(std::string_view bytes, const std::string& name) {
  PieceModel::Piece piece;
  MessageReader reader(bytes, name);
  for (WireField field; reader.next(field);) {
    if (field.number == kText) piece.text = field.bytes;
    if (field.number == kScore)
      piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    if (field.number != kType) continue;
    if (field.value < 1 || field.value > 6)
      throw DataError(name + ": a piece has the type " + std::to_string(field.value) +
                      ", which this build does not know");
    piece.type = static_cast<PieceModel::Type>(field.value);
  }
  return piece;
}

}  // namespace

PieceModel parse_piece_model(std::string_view bytes, const std::string& name) {
  PieceModel model;
  MessageReader reader(bytes, name);
  for (WireField field; reader.next(field);) {
    if (field.number == kPieces) model.pieces.push_back(read_piece(field.bytes, name));
    if (field.number != kTrainer) continue;
    MessageReader trainer(field.bytes, name);
    for (WireField setting; trainer.next(setting);) {
      if (setting.number == kModelType && setting.value >= 1 && setting.value <= 4)
        model.kind = static_cast<PieceModel::Kind>(setting.value);
      if (setting.number == kByteFallback) model.byte_fallback = setting.value != 0;
    }
  }
  if (model.pieces.empty())
    throw DataError(name + ": is no SentencePiece model: it holds no pieces");
  return model;
}

std::string with_pieces(std::string_view bytes, std::span<const PieceModel::Piece> pieces,
                        const std::string& name) {
  MessageWriter model;
  for (const PieceModel::Piece& piece : pieces) {
    model.text(kPieces, MessageWriter()
                            .text(kText, piece.text)
                            .number(kScore, piece.score)
                            .varint(kType, static_cast<std::uint64_t>(piece.type))
                            .bytes());
  }
  MessageReader reader(bytes, name);
  for (WireField field; reader.next(field);)
    if (field.number != kPieces && field.number != kSelfTest) model.whole(field.whole);
  // A message that stands twice is merged: the later fields hold.
  model.text(kTrainer, MessageWriter()
                           .varint(kSize, pieces.size())
                           .varint(kPadId, 0)
                           .varint(kUnknownId, 1)
                           .varint(kBeginId, 2)
                           .varint(kEndId, 3)
                           .text(kPadText, pieces[0].text)
                           .text(kUnknownText, pieces[1].text)
                           .text(kBeginText, pieces[2].text)
                           .text(kEndText, pieces[3].text)
                           .bytes());
  return model.bytes();
}

}  // namespace th::data
