#include "data/tokenizer/sentencepiece/piece_model.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "th/base/error.hpp"

namespace th::data {
namespace {

/// How a field's value is written.
enum class Wire : unsigned { kNumber = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

/// A field of a message: its number, and its value by the wire type: a number, or bytes.
struct WireField {
  std::uint64_t number = 0;
  Wire wire = Wire::kNumber;
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
    if (tag >> 32U != 0) fail();  // protobuf would take its lower bits
    field = {tag >> 3, static_cast<Wire>(tag & 7), 0, {}, {}};
    switch (field.wire) {
      case Wire::kNumber:
        field.value = varint();
        break;
      case Wire::kFixed64:
        field.value = fixed(8);
        break;
      case Wire::kBytes:
        field.bytes = take(varint());
        break;
      case Wire::kFixed32:
        field.value = fixed(4);
        break;
      default:
        fail();
    }
    field.whole = begin.substr(0, begin.size() - rest_.size());
    return true;
  }
  /// Whether the field is the one of that number. SentencePiece passes over it where it is written
  /// in another way, and would count other pieces than this reader.
  [[nodiscard]] bool is(const WireField& field, std::uint64_t number, Wire wire) const {
    if (field.number == number && field.wire != wire) fail();
    return field.number == number;
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
enum ModelField : std::uint64_t {
  kPieces = 1,
  kTrainer = 2,
  kNormalizer = 3,
  kSelfTest = 4,
  kDenormalizer = 5
};
enum NormalizerField : std::uint64_t { kCharacterMap = 2 };
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

// A piece is a word at most; the time of its prefixes grows with the square of its length.
constexpr std::size_t kLongestPiece = 2048;

PieceModel::Piece read_piece(std::string_view bytes, const std::string& name) {
  PieceModel::Piece piece;
  MessageReader reader(bytes, name);
  for (WireField field; reader.next(field);) {
    if (reader.is(field, kText, Wire::kBytes)) piece.text = field.bytes;
    if (reader.is(field, kScore, Wire::kFixed32))
      piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    if (!reader.is(field, kType, Wire::kNumber)) continue;
    if (field.value < 1 || field.value > 6)
      throw DataError(name + ": a piece has the type " + std::to_string(field.value) +
                      ", which this build does not know");
    piece.type = static_cast<PieceModel::Type>(field.value);
  }
  if (!std::isfinite(piece.score))
    throw DataError(name + ": the score of a piece is not finite; the model is damaged");
  if (piece.text.size() > kLongestPiece)
    throw DataError(name + ": a piece has " + std::to_string(piece.text.size()) +
                    " bytes; read are pieces up to " + std::to_string(kLongestPiece));
  if (piece.text.find('\0') != std::string::npos)
    throw DataError(name + ": a piece holds a zero byte, which no text has; the model is damaged");
  return piece;
}

/// Throws where SentencePiece would read beyond a model's map of characters, which it does not
/// check: a length, a double array of 32-bit units (darts-clone), and the texts that it leads to.
class CharacterMap {
 public:
  CharacterMap(std::string_view bytes, const std::string& name) : name_(name) {
    if (bytes.size() < sizeof(std::uint32_t)) fail();
    std::uint32_t array_bytes = 0;
    std::memcpy(&array_bytes, bytes.data(), sizeof array_bytes);
    bytes.remove_prefix(sizeof array_bytes);
    if (array_bytes > bytes.size()) fail();
    units_.resize(array_bytes / sizeof(std::uint32_t));
    if (!units_.empty())
      std::memcpy(units_.data(), bytes.data(), units_.size() * sizeof(std::uint32_t));
    texts_ = bytes.substr(array_bytes);
    if (texts_.empty() || texts_.back() != '\0') fail();
  }

  /// Walks from unit to unit as any line could.
  void require_sound() const {
    if (units_.empty()) fail();
    std::vector<bool> seen(units_.size(), false);
    std::vector<std::size_t> to_visit{0};
    seen[0] = true;
    while (!to_visit.empty()) {
      const std::size_t at = to_visit.back();
      to_visit.pop_back();
      const std::uint32_t unit = units_[at];
      const std::size_t next = at ^ ((unit >> 10U) << ((unit & (1U << 9U)) >> 6U));
      if ((next | kBytes) >= units_.size()) fail();
      const bool ends_text = ((unit >> 8U) & 1U) != 0;
      if (ends_text && (units_[next] & kValue) >= texts_.size()) fail();
      for (std::size_t byte = 0; byte <= kBytes; ++byte) {
        const std::size_t child = next ^ byte;
        if (seen[child] || (units_[child] & (~kValue | kBytes)) != byte) continue;
        seen[child] = true;
        to_visit.push_back(child);
      }
    }
  }

 private:
  static constexpr std::uint32_t kValue = (1U << 31U) - 1, kBytes = 255;
  [[noreturn]] void fail() const {
    throw DataError(name_ + ": the model's map of characters is damaged");
  }
  const std::string& name_;
  std::vector<std::uint32_t> units_;
  std::string_view texts_;
};

/// Throws where a model's rules of normalization are not sound.
void require_normalizer(std::string_view bytes, const std::string& name) {
  MessageReader reader(bytes, name);
  for (WireField field; reader.next(field);)
    if (reader.is(field, kCharacterMap, Wire::kBytes) && !field.bytes.empty())
      CharacterMap(field.bytes, name).require_sound();
}

}  // namespace

PieceModel parse_piece_model(std::string_view bytes, const std::string& name) {
  PieceModel model;
  MessageReader reader(bytes, name);
  for (WireField field; reader.next(field);) {
    if (reader.is(field, kPieces, Wire::kBytes))
      model.pieces.push_back(read_piece(field.bytes, name));
    if (reader.is(field, kNormalizer, Wire::kBytes) ||
        reader.is(field, kDenormalizer, Wire::kBytes))
      require_normalizer(field.bytes, name);
    if (!reader.is(field, kTrainer, Wire::kBytes)) continue;
    MessageReader trainer(field.bytes, name);
    for (WireField setting; trainer.next(setting);) {
      if (trainer.is(setting, kModelType, Wire::kNumber) && setting.value >= 1 &&
          setting.value <= 4)
        model.kind = static_cast<PieceModel::Kind>(setting.value);
      if (trainer.is(setting, kByteFallback, Wire::kNumber))
        model.byte_fallback = setting.value != 0;
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
