#include "th/io/element_type.hpp"

#include <cmath>

#include <bit>
#include <cstring>

#include "th/base/error.hpp"
#include "th/base/half_float.hpp"

namespace th::io {

static_assert(std::endian::native == std::endian::little,
              "exported files are little-endian, as the memory that is copied into them");

std::string safetensors_name(ElementType type) {
  if (type == ElementType::kFp32) return "F32";
  return type == ElementType::kFp16 ? "F16" : "BF16";
}

std::vector<std::byte> encode(std::span<const float> values, ElementType type) {
  std::vector<std::byte> bytes(values.size() * static_cast<std::size_t>(element_size(type)));
  if (type == ElementType::kFp32) {
    if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t element = type == ElementType::kFp16 ? from_float<Fp16>(values[i]).bits
                                                             : from_float<Bf16>(values[i]).bits;
    std::memcpy(bytes.data() + 2 * i, &element, 2);
  }
  return bytes;
}

void decode(std::span<const std::byte> bytes, ElementType type, std::span<float> values) {
  ensure(bytes.size() == values.size() * static_cast<std::size_t>(element_size(type)),
         "decode: the byte count is not that of the values");
  if (type == ElementType::kFp32) {
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t element = 0;
    std::memcpy(&element, bytes.data() + 2 * i, 2);
    values[i] = type == ElementType::kFp16 ? to_float(Fp16{element}) : to_float(Bf16{element});
  }
}

std::int64_t count_overflows(std::span<const float> values, ElementType type) {
  std::vector<float> stored(values.size());
  decode(encode(values, type), type, stored);
  std::int64_t count = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    count += std::isinf(stored[i]) && std::isfinite(values[i]) ? 1 : 0;
  return count;
}

}  // namespace th::io
