#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace th::io {

/// How a tensor's elements are stored in an exported file. Checkpoints and memory are always fp32.
enum class ElementType { kFloat32, kFloat16, kBfloat16 };

/// Bytes of an element.
[[nodiscard]] std::int64_t element_size(ElementType type) noexcept;
/// The name of safetensors: "F32", "F16", "BF16".
[[nodiscard]] std::string safetensors_name(ElementType type);

/// IEEE 754 binary16 and bfloat16 of a value: to nearest, ties to even, denormals included; too large becomes infinity, NaN stays a (quiet)
/// NaN.
[[nodiscard]] std::uint16_t to_float16(float value) noexcept;
[[nodiscard]] std::uint16_t to_bfloat16(float value) noexcept;
/// The exact value of a 16-bit pattern.
[[nodiscard]] float from_float16(std::uint16_t bits) noexcept;
[[nodiscard]] float from_bfloat16(std::uint16_t bits) noexcept;

/// The values as little-endian elements of `type`.
[[nodiscard]] std::vector<std::byte> encode(std::span<const float> values, ElementType type);
/// The inverse; `bytes` holds values.size() elements of `type`.
void decode(std::span<const std::byte> bytes, ElementType type, std::span<float> values);

}  // namespace th::io
