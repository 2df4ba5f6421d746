#include <gtest/gtest.h>

#include <span>
#include <string_view>

#include "th/base/hash.hpp"

namespace {

TEST(Hash, Crc32cOfTheCheckStringAndInParts) {
  constexpr std::string_view kText = "123456789";
  const auto bytes = std::as_bytes(std::span(kText.data(), kText.size()));
  EXPECT_EQ(th::crc32c(bytes), 0xe3069283U);  // the check value of CRC-32C
  EXPECT_EQ(th::crc32c(bytes.subspan(4), th::crc32c(bytes.first(4))), 0xe3069283U);
  EXPECT_EQ(th::crc32c({}), 0U);
}

TEST(Hash, PairsAreOrderedAndTextsDiffer) {
  EXPECT_NE(th::hash_pair(1, 2), th::hash_pair(2, 1));
  EXPECT_NE(th::hash_text("a"), th::hash_text("b"));
  EXPECT_NE(th::hash_text("a", 1), th::hash_text("a", 2));
}

}  // namespace
