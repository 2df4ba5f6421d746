#pragma once

#include <string_view>
#include <vector>

namespace th::data {

/// Whether `c` is ASCII white space, which divides words.
[[nodiscard]] constexpr bool is_space(char c) noexcept {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

/// The words of a line, split at ASCII white space.
[[nodiscard]] std::vector<std::string_view> split_words(std::string_view line);

}  // namespace th::data
