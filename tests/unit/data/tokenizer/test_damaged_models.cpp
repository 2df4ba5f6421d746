// Models of SentencePiece that nobody's training made: each is refused by a line, or used within
// its own bytes. Found by th_fuzz tokenizer, or by looking for what it could find.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>

#include "data/tokenizer/sentencepiece/piece_model.hpp"
#include "th/base/error.hpp"
#include "th/data/tokenizer/model_order.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"

namespace th::data {
namespace {

using namespace std::string_literals;

/// A field of bytes, shorter than 16384.
std::string field(int number, const std::string& bytes) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  out += static_cast<char>((bytes.size() & 0x7fU) | 0x80U);
  out += static_cast<char>(bytes.size() >> 7U);
  return out + bytes;
}

std::string score_bits(float score) {
  std::string out(sizeof score, '\0');
  std::memcpy(out.data(), &score, sizeof score);
  return out;
}

/// A piece: text, score and type.
std::string piece(const std::string& text, float score, int type) {
  return field(1, field(1, text) + "\x15" + score_bits(score) + "\x18" + static_cast<char>(type));
}

const std::string kUnknownFirst = piece("<unk>", 0, 2);
const std::string kLetters = piece("\u2581", -1, 1) + piece("a", -2, 1) + piece("b", -3, 1);
const std::string kIdentity = field(3, field(1, "identity"));

std::string refusal(const std::string& model) {
  try {
    (void)restore_tokenizer(read_model_ids(model, "m").tokenizer);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(DamagedModel, TheSmallOneIsSound) {
  EXPECT_EQ(refusal(kUnknownFirst + kLetters + kIdentity), "");
}

TEST(DamagedModel, AFieldThatIsWrittenInAnotherWayIsRefused) {
  // SentencePiece passes over a number where bytes belong, and then has fewer pieces.
  for (const std::string& odd :
       {"\x08\x01"s, "\x8a\x80\x80\x80\x10\x03\n\x01x"s, field(1, field(1, "c") + "\x1a\x01\x06"s),
        field(1, "\x08\x01"s), "\x10\x01"s})
    EXPECT_EQ(refusal(kUnknownFirst + kLetters + odd),
              "m: is no SentencePiece model: its bytes can't be read");
}

TEST(DamagedModel, ScoresThatAreNoNumbersAreRefused) {
  for (const float score :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()})
    EXPECT_NE(refusal(kUnknownFirst + kLetters + piece("c", score, 1)).find("not finite"),
              std::string::npos);
}

TEST(DamagedModel, APieceOfManyThousandBytesIsRefused) {
  EXPECT_NE(refusal(kUnknownFirst + kLetters + piece(std::string(5000, 'x'), -1, 1))
                .find("a piece has 5000 bytes"),
            std::string::npos);
  EXPECT_EQ(refusal(kUnknownFirst + kLetters + piece(std::string(2000, 'x'), -1, 1)), "");
}

TEST(DamagedModel, APieceWithAZeroByteIsRefused) {
  const std::string why = refusal(kUnknownFirst + kLetters + piece("a\0b"s, -1, 1));
  EXPECT_EQ(why, "m: a piece holds a zero byte, which no text has; the model is damaged");
}

TEST(DamagedModel, DrawsOfProbabilitiesBelowAnyNumberAreSegmentations) {
  const std::string model = kUnknownFirst + piece("\u2581", -1e30F, 1) + piece("a", -1e30F, 1) +
                            piece("b", -1e30F, 1) + piece("ab", -1e30F, 1) + kIdentity;
  const auto tokenizer = restore_tokenizer(read_model_ids(model, "m").tokenizer);
  for (std::uint64_t key = 0; key < 20; ++key)
    EXPECT_EQ(tokenizer->decode(tokenizer->sample("abab ba", 1.0, key)), "abab ba");
}

/// A map of characters: an array of units and the texts behind it.
std::string map_of(const std::vector<std::uint32_t>& units, const std::string& texts) {
  const auto bytes = static_cast<std::uint32_t>(units.size() * sizeof(std::uint32_t));
  std::string out(sizeof bytes + bytes, '\0');
  std::memcpy(out.data(), &bytes, sizeof bytes);
  if (bytes > 0) std::memcpy(out.data() + sizeof bytes, units.data(), bytes);
  return out + texts;
}

std::string refusal_of_map(const std::string& map) {
  return refusal(kUnknownFirst + kLetters + field(3, field(1, "user") + field(2, map)));
}

TEST(DamagedModel, AMapOfCharactersThatLeadsOutOfItselfIsRefused) {
  // 'A' becomes the text at 0: the root's children begin at 256, 'A' ends a text, its value is 0.
  constexpr std::uint32_t kLeaf = 1U << 31U, kEndsText = 1U << 8U;
  std::vector<std::uint32_t> sound(768, 0);
  sound[0] = 256U << 10U;
  const std::uint32_t at = 256 ^ 'A', to_value = at ^ 512U;
  sound[at] = to_value << 10U | kEndsText | 'A';
  sound[512] = kLeaf | 0;
  EXPECT_EQ(refusal_of_map(map_of(sound, "a\0"s)), "");
  const auto expect_refused = [&](const std::string& map) {
    EXPECT_EQ(refusal_of_map(map), "m: the model's map of characters is damaged");
  };
  expect_refused("abc");
  expect_refused(map_of({}, "a\0"s));
  expect_refused(map_of(sound, "a"));  // a text without its end
  expect_refused(map_of(sound, ""));
  std::vector<std::uint32_t> changed = sound;
  changed[512] = kLeaf | 2;  // a text behind the last one
  expect_refused(map_of(changed, "a\0"s));
  changed = sound;
  changed[0] = 768U << 10U;  // children behind the array
  expect_refused(map_of(changed, "a\0"s));
  changed = sound;
  changed[at] = (at ^ 0xfff00U) << 10U | kEndsText | 'A';
  expect_refused(map_of(changed, "a\0"s));
  std::string longer = map_of(sound, "a\0"s);
  longer[0] = '\xff';  // the array's bytes are more than there are
  longer[3] = '\x7f';
  expect_refused(longer);
}

}  // namespace
}  // namespace th::data
