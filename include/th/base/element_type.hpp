#pragma once

#include <cstdint>

namespace th {

/// Types of numbers: of activations and working weights, of what ranks send, of optimizer states,
/// and of tensors in files.
enum class ElementType { kFp32, kBf16, kFp16 };

/// Bytes of an element.
[[nodiscard]] constexpr std::int64_t element_size(ElementType type) noexcept {
  return type == ElementType::kFp32 ? 4 : 2;
}

}  // namespace th
