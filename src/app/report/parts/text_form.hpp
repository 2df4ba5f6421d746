#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace th::app {

/// A text of a file or a name as UTF-8 without control characters but newline and tab: each byte
/// that is none of it becomes U+FFFD.
[[nodiscard]] std::string clean_text(std::string_view text);
/// The same, ready for HTML and SVG, between tags and in attributes: & < > " ' are escaped.
[[nodiscard]] std::string escaped(std::string_view text);
/// At most so many characters of a clean text; a longer one ends with "…".
[[nodiscard]] std::string shortened(const std::string& text, std::size_t most);

/// So many significant digits, without trailing zeros: "0.0123", "13278".
[[nodiscard]] std::string number_form(double value, int digits = 6);
/// A whole number with spaces between thousands: "1 234 567".
[[nodiscard]] std::string count_form(std::int64_t value);
/// "512 B", "1.50 GiB".
[[nodiscard]] std::string bytes_form(double bytes);
/// "12.3 s", "4:05 min", "1:13:44 h".
[[nodiscard]] std::string seconds_form(double seconds);

}  // namespace th::app
