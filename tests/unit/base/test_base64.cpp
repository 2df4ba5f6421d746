#include <gtest/gtest.h>

#include "th/base/base64.hpp"

namespace th {
namespace {

TEST(Base64, IsThatOfTheStandard) {
  // RFC 4648, section 10.
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(base64_text(bytes), text);
    EXPECT_EQ(base64_bytes(text), bytes);
  }
}

TEST(Base64, KeepsEveryByteAndRefusesOtherText) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(base64_bytes(base64_text(all)), all);
  for (const char* text : {"Z", "Zg=", "Zm9*", "=Zm9"}) EXPECT_FALSE(base64_bytes(text)) << text;
}

}  // namespace
}  // namespace th
