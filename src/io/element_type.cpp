#include "th/io/element_type.hpp"

#include <bit>
#include <cstring>

#include "th/base/error.hpp"

namespace th::io {

static_assert(std::endian::native == std::endian::little, "exported files are little-endian, as the memory that is copied into them");

namespace {

constexpr std::uint32_t kInfinity = 0x7f800000U;  // magnitude bits of fp32

std::uint16_t with_sign(std::uint32_t bits, std::uint32_t magnitude) noexcept {
  return static_cast<std::uint16_t>(((bits >> 16) & 0x8000U) | magnitude);
}

/// value / 2^shift, to nearest, ties to even; shift is in 1 … 31.
std::uint32_t rounded_shift(std::uint32_t value, std::uint32_t shift) noexcept {
  const std::uint32_t quotient = value >> shift;
  const std::uint32_t rest = value & ((1U << shift) - 1U);
  const std::uint32_t half = 1U << (shift - 1U);
  return quotient + (rest > half || (rest == half && (quotient & 1U) != 0) ? 1U : 0U);
}

}  // namespace

std::int64_t element_size(ElementType type) noexcept { return type == ElementType::kFloat32 ? 4 : 2; }

std::string safetensors_name(ElementType type) {
  if (type == ElementType::kFloat32) return "F32";
  return type == ElementType::kFloat16 ? "F16" : "BF16";
}

std::uint16_t to_bfloat16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > kInfinity) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return with_sign(bits, rounded_shift(bits & 0x7fffffffU, 16));
}

std::uint16_t to_float16(float value) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > kInfinity) return with_sign(bits, 0x7e00U | ((magnitude >> 13) & 0x3ffU));
  if (magnitude >= 0x47800000U) return with_sign(bits, 0x7c00U);  // 65536 and above
  if (magnitude >= 0x38800000U) return with_sign(bits, rounded_shift(magnitude - (112U << 23), 13));
  const std::uint32_t shift = 126U - (magnitude >> 23);  // from the fp32 mantissa to units of 2^-24, the smallest denormal
  if (shift > 24) return with_sign(bits, 0);
  return with_sign(bits, rounded_shift((magnitude & 0x7fffffU) | 0x800000U, shift));
}

float from_bfloat16(std::uint16_t bits) noexcept { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

float from_float16(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t magnitude = bits & 0x7fffU;
  if (magnitude >= 0x7c00U) return std::bit_cast<float>(sign | kInfinity | ((magnitude & 0x3ffU) << 13));
  if (magnitude >= 0x400U) return std::bit_cast<float>(sign | ((magnitude << 13) + (112U << 23)));
  const float denormal = static_cast<float>(magnitude) * 0x1p-24F;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(denormal));
}

std::vector<std::byte> encode(std::span<const float> values, ElementType type) {
  std::vector<std::byte> bytes(values.size() * static_cast<std::size_t>(element_size(type)));
  if (type == ElementType::kFloat32) {
    if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t element = type == ElementType::kFloat16 ? to_float16(values[i]) : to_bfloat16(values[i]);
    std::memcpy(bytes.data() + 2 * i, &element, 2);
  }
  return bytes;
}

void decode(std::span<const std::byte> bytes, ElementType type, std::span<float> values) {
  ensure(bytes.size() == values.size() * static_cast<std::size_t>(element_size(type)), "decode: the byte count is not that of the values");
  if (type == ElementType::kFloat32) {
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return;
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint16_t element = 0;
    std::memcpy(&element, bytes.data() + 2 * i, 2);
    values[i] = type == ElementType::kFloat16 ? from_float16(element) : from_bfloat16(element);
  }
}

}  // namespace th::io
