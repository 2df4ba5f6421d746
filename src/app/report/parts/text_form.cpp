#include "app/report/parts/text_form.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace th::app {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

/// Length of the UTF-8 character at the beginning; 0 where there is none, or one that UTF-8 does
/// not allow (overlong forms, surrogates, above U+10FFFF).
std::size_t character_length(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if (!is_continuation(text[i])) return 0;
  const auto second = static_cast<unsigned char>(text[1]);
  const bool wrong = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                     (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return wrong ? 0 : length;
}

template <typename... Values>
std::string formatted(const char* form, Values... values) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), form, values...);
  return text.data();
}

}  // namespace

std::string clean_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    const char c = text.front();
    const bool control = length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) &&
                         c != '\n' && c != '\t';
    out += length == 0 || control ? kReplacement : text.substr(0, length);
    text.remove_prefix(std::max<std::size_t>(1, length));
  }
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : clean_text(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string shortened(const std::string& text, std::size_t most) {
  std::size_t characters = 0, end = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_continuation(text[i])) continue;
    if (++characters == most) end = i;  // where the last one that may stand begins
  }
  return characters <= most ? text : text.substr(0, end) + "…";
}

std::string number_form(double value, int digits) {
  if (!std::isfinite(value)) return "not finite";
  return formatted("%.*g", digits, value);
}

std::string count_form(std::int64_t value) {
  std::string digits = std::to_string(value);
  const std::size_t begin = value < 0 ? 1 : 0;
  for (std::size_t at = digits.size(); at > begin + 3;) {
    at -= 3;
    digits.insert(at, 1, ' ');
  }
  return digits;
}

std::string bytes_form(double bytes) {
  constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; std::abs(bytes) >= 1024 && unit + 1 < kUnits.size(); ++unit) bytes /= 1024;
  return formatted(unit == 0 ? "%.0f %s" : "%.2f %s", bytes, kUnits[unit]);
}

std::string seconds_form(double seconds) {
  if (seconds < 60) return formatted("%.1f s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return formatted("%lld:%02lld min", whole / 60, whole % 60);
  return formatted("%lld:%02lld:%02lld h", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace th::app
