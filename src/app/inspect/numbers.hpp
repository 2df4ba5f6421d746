#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace th::app {

inline constexpr std::int64_t kPieceElements = std::int64_t{1}
                                               << 20;  ///< of a tensor, read at once

/// A number with so many significant digits.
inline std::string number_text(double value, int digits) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

}  // namespace th::app
