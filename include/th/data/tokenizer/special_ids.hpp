#pragma once

#include <cstdint>

namespace th::data {

/// Ids that every tokenizer shares.
inline constexpr std::int32_t kPad = 0;
inline constexpr std::int32_t kUnknown = 1;
inline constexpr std::int32_t kBegin = 2;
inline constexpr std::int32_t kEnd = 3;

}  // namespace th::data
