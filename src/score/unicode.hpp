#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Text as the scores see it: code points, and the white space of Python's str.split, by which
// sacrebleu splits.
namespace th::score {

/// Code points of UTF-8 text; a byte that is no part of a code point stands for itself, above all
/// code points.
[[nodiscard]] std::u32string code_points(std::string_view text);
/// Appends a code point of code_points() as the bytes it was made from.
void append_utf8(std::string& out, char32_t c);
/// Whether Python's str.isspace() holds.
[[nodiscard]] bool is_space(char32_t c) noexcept;
/// The pieces between white space; none is empty.
[[nodiscard]] std::vector<std::u32string_view> split(std::u32string_view text);
/// Without white space at both ends.
[[nodiscard]] std::u32string_view trimmed(std::u32string_view text);

}  // namespace th::score
