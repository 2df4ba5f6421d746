#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "th/base/element_type.hpp"

namespace th::io {

/// The name of safetensors: "F32", "F16", "BF16".
[[nodiscard]] std::string safetensors_name(ElementType type);

/// The values as little-endian elements of `type`, rounded as th/base/half_float.hpp says.
[[nodiscard]] std::vector<std::byte> encode(std::span<const float> values, ElementType type);
/// The inverse of encode(); `bytes` holds values.size() elements of `type`.
void decode(std::span<const std::byte> bytes, ElementType type, std::span<float> values);

/// The number of finite values that become infinite as elements of `type`.
[[nodiscard]] std::int64_t count_overflows(std::span<const float> values, ElementType type);

}  // namespace th::io
