#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "th/io/element_type.hpp"

namespace {
using namespace th::io;

TEST(ElementTypes, EncodedBytesComeBack) {
  const std::vector<float> values = {0.0F, -0.0F, 1.5F, -2.0F, 0x1p-24F};
  for (const th::ElementType type :
       {th::ElementType::kFp32, th::ElementType::kFp16, th::ElementType::kBf16}) {
    const auto bytes = encode(values, type);
    EXPECT_EQ(std::ssize(bytes), th::element_size(type) * 5);
    std::vector<float> back(5);
    decode(bytes, type, back);
    EXPECT_EQ(back, values) << safetensors_name(type);
  }
  EXPECT_EQ(encode(std::vector<float>{1.5F}, th::ElementType::kBf16),
            (std::vector<std::byte>{std::byte{0xc0}, std::byte{0x3f}}));
}

}  // namespace
