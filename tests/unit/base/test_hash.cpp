#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "th/base/hash.hpp"

namespace {

TEST(Hash, Crc32cOfTheCheckStringAndInParts) {
  constexpr std::string_view kText = "123456789";
  const auto bytes = std::as_bytes(std::span(kText.data(), kText.size()));
  EXPECT_EQ(th::crc32c(bytes), 0xe3069283U);  // the check value of CRC-32C
  EXPECT_EQ(th::crc32c(bytes.subspan(4), th::crc32c(bytes.first(4))), 0xe3069283U);
  EXPECT_EQ(th::crc32c({}), 0U);
}

TEST(Hash, Crc32cOfThreeStreamsIsThatOfOneByteAtATime) {
  std::vector<std::byte> data(40000);
  for (std::size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<std::byte>(th::mix64(i) & 0xffU);
  for (const std::size_t begin : {0U, 1U, 7U}) {
    for (const std::size_t count : {0U, 1U, 12287U, 12288U, 12289U, 24576U, 24600U, 39990U}) {
      const auto part = std::span(data).subspan(begin, count);
      EXPECT_EQ(th::crc32c(part, 0x12345678U), th::crc32c_portable(part, 0x12345678U))
          << begin << " " << count;
    }
  }
  // RFC 3720, B.4: 32 bytes of zeros, and 32 of ones.
  const std::vector<std::byte> zeros(32, std::byte{0}), ones(32, std::byte{0xff});
  EXPECT_EQ(th::crc32c(zeros), 0x8a9136aaU);
  EXPECT_EQ(th::crc32c_portable(ones), 0x62a8ab43U);
}

TEST(Hash, OfWordsChangesWithEveryBitAndWithTheLength) {
  std::vector<std::byte> data(203);
  for (std::size_t i = 0; i < data.size(); ++i)
    data[i] = static_cast<std::byte>(th::mix64(i) & 0xffU);
  std::set<std::uint64_t> seen{th::hash_words(data)};
  for (std::size_t bit = 0; bit < data.size() * 8; ++bit) {
    data[bit / 8] ^= std::byte{1} << static_cast<int>(bit % 8);
    EXPECT_TRUE(seen.insert(th::hash_words(data)).second) << bit;
    data[bit / 8] ^= std::byte{1} << static_cast<int>(bit % 8);
  }
  for (std::size_t count = 0; count < data.size(); ++count)
    EXPECT_TRUE(seen.insert(th::hash_words(std::span(data).first(count))).second) << count;
  EXPECT_TRUE(seen.insert(th::hash_words(data, 1)).second);
  // Signs of two floats, wherever they are: the highest bits of words.
  for (std::size_t a = 3; a < 100; a += 4) {
    for (std::size_t b = a + 4; b < 100; b += 4) {
      data[a] ^= std::byte{0x80};
      data[b] ^= std::byte{0x80};
      EXPECT_TRUE(seen.insert(th::hash_words(data)).second) << a << " " << b;
      data[a] ^= std::byte{0x80};
      data[b] ^= std::byte{0x80};
    }
  }
  // Wherever it lies in memory.
  std::vector<std::byte> moved(data.size() + 1);
  std::copy(data.begin(), data.end(), moved.begin() + 1);
  EXPECT_EQ(th::hash_words(std::span(moved).subspan(1)), th::hash_words(data));
}

TEST(Hash, PairsAreOrderedAndTextsDiffer) {
  EXPECT_NE(th::hash_pair(1, 2), th::hash_pair(2, 1));
  EXPECT_NE(th::hash_text("a"), th::hash_text("b"));
  EXPECT_NE(th::hash_text("a", 1), th::hash_text("a", 2));
}

}  // namespace
