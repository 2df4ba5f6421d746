#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstddef>

#include "th/base/bit_flip.hpp"
#include "th/base/error.hpp"

namespace {

using th::BitFlip;
using Place = BitFlip::Place;

/// How many of `passed` places of a kind flip in a computation.
int flips(Place place, bool audited, int passed, std::int64_t choices) {
  const BitFlip::Computing computing(audited);
  int flipped = 0;
  for (int i = 0; i < passed; ++i) flipped += BitFlip::here(place, choices) ? 1 : 0;
  return flipped;
}

TEST(BitFlip, ComesOnceInTheNthComputationOfAnAuditedSlot) {
  for (std::uint64_t draw = 0; draw < 20; ++draw) {
    BitFlip::arm({Place::kGradient, 2, draw});
    EXPECT_EQ(flips(Place::kGradient, true, 5, 5), 0) << "the first one";
    EXPECT_EQ(flips(Place::kGradient, false, 5, 5), 0) << "not audited";
    EXPECT_TRUE(BitFlip::armed());
    EXPECT_EQ(flips(Place::kGradient, true, 5, 5), 1);
    EXPECT_FALSE(BitFlip::armed());
    EXPECT_EQ(flips(Place::kGradient, true, 5, 5), 0);
  }
  BitFlip::arm({Place::kGradient, 1, 7});
  EXPECT_EQ(flips(Place::kWeights, true, 5, 5), 0) << "another place";
  EXPECT_FALSE(BitFlip::here(Place::kGradient, 1)) << "behind the computation";
  BitFlip::disarm();
  EXPECT_EQ(flips(Place::kGradient, true, 5, 5), 0);
}

TEST(BitFlip, OfACopyComesInTheNthStep) {
  BitFlip::arm({Place::kCopy, 3, 0});
  EXPECT_EQ(flips(Place::kGradient, true, 5, 5), 0);
  EXPECT_FALSE(BitFlip::here(Place::kCopy));
  EXPECT_FALSE(BitFlip::here(Place::kCopy));
  EXPECT_TRUE(BitFlip::here(Place::kCopy));
  EXPECT_FALSE(BitFlip::here(Place::kCopy));
}

TEST(BitFlip, ChangesOneBit) {
  for (std::uint64_t draw = 0; draw < 50; ++draw) {
    std::array<std::byte, 12> bytes{};
    BitFlip::arm({Place::kCopy, 1, draw});
    BitFlip::flip(bytes);
    int bits = 0;
    for (const std::byte b : bytes) bits += std::popcount(static_cast<unsigned char>(b));
    EXPECT_EQ(bits, 1);
  }
  BitFlip::disarm();
}

TEST(BitFlip, IsReadFromItsTextForOneRank) {
  BitFlip::arm_from(nullptr, 0);
  BitFlip::arm_from("", 0);
  BitFlip::arm_from("weights@1", 0);
  EXPECT_FALSE(BitFlip::armed());
  BitFlip::arm_from("copy:2:5@1", 1);
  EXPECT_TRUE(BitFlip::armed());
  EXPECT_EQ(BitFlip::draw(), 5U);
  EXPECT_FALSE(BitFlip::here(Place::kCopy));
  EXPECT_TRUE(BitFlip::here(Place::kCopy));
  for (const char* text : {"weights", "activations:1", "gradient:3:12345678901", "message:1:2@0"}) {
    BitFlip::arm_from(text, 0);
    EXPECT_TRUE(BitFlip::armed()) << text;
    BitFlip::disarm();
  }
  for (const char* text : {"weight", "x", "copy:", "copy:0", "copy:-1", "copy:1:", "copy@",
                           "copy@x", "copy:1@2x", "copy 1", "copyweights"})
    EXPECT_THROW(BitFlip::arm_from(text, 0), th::DeckError) << text;
}

}  // namespace
