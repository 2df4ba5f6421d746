#pragma once

#include <cstddef>
#include <cstdint>

namespace th::zero {

constexpr std::int64_t kFloat = 4, kDouble = 8;  ///< bytes

/// A place that is not negative, as standard containers take it.
constexpr std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace th::zero
