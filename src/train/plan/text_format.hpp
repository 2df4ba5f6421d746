#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <string>

namespace th::train {

/// snprintf's text, of at most 255 characters.
template <typename... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 256> text{};
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

constexpr double kMebi = 1024.0 * 1024.0;

inline double mebibytes(std::int64_t bytes) { return static_cast<double>(bytes) / kMebi; }

}  // namespace th::train
