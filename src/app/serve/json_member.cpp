#include "app/serve/json_member.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <string>

namespace th::app {

namespace {

constexpr std::string_view kJsonBlank = " \t\r\n";

/// Behind the string that begins at `at`.
std::size_t string_end(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return std::min(at + 1, text.size());
}

/// Behind the value that begins at `at`: at the comma or the bracket that ends it, or a blank.
std::size_t value_end(std::string_view text, std::size_t at) {
  int depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = string_end(text, at);
      if (depth == 0) return at;
      continue;
    }
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') {
      if (depth == 0) return at;
      if (--depth == 0) return at + 1;
    }
    if (depth == 0 && (c == ',' || kJsonBlank.find(c) != std::string_view::npos)) return at;
    ++at;
  }
  return at;
}

}  // namespace

std::string_view json_member(std::string_view object, std::string_view name) {
  std::string_view found;
  const auto next = [&](std::size_t from, std::string_view of) {
    return std::min(object.find_first_of(of, from), object.size());
  };
  std::size_t at = next(0, "{") + 1;
  while ((at = next(at, "\"}")) < object.size() && object[at] == '"') {
    const std::size_t key_end = string_end(object, at);
    const std::string_view key = object.substr(at, key_end - at);
    std::size_t begin = next(key_end, ":") + 1;
    begin = std::min(object.find_first_not_of(kJsonBlank, begin), object.size());
    at = value_end(object, begin);
    if (nlohmann::json::parse(key) == nlohmann::json(std::string(name)))
      found = object.substr(begin, at - begin);
  }
  return found;
}

}  // namespace th::app
