#include "th/io/formats/yaml_map.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "th/base/error.hpp"

namespace th::io {
namespace {

/// A code point as UTF-8.
void append_utf8(std::string& out, std::uint32_t code) {
  const auto byte = [&](std::uint32_t value) { out += static_cast<char>(value); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xc0 | code >> 6);
    byte(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    byte(0xe0 | code >> 12);
    byte(0x80 | (code >> 6 & 0x3f));
    byte(0x80 | (code & 0x3f));
  } else {
    byte(0xf0 | code >> 18);
    byte(0x80 | (code >> 12 & 0x3f));
    byte(0x80 | (code >> 6 & 0x3f));
    byte(0x80 | (code & 0x3f));
  }
}

std::string_view without_blanks(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

class MapReader {
 public:
  MapReader(std::string_view text, const std::string& name) : rest_(text), name_(name) {}

  std::vector<YamlEntry> read() {
    std::string_view line;
    while (next(line)) {
      if (line.starts_with("- ") || line == "-") {
        add_item(line.substr(1));
      } else if (line.front() == ' ') {
        read_indented(without_blanks(line));
      } else if (line.starts_with("? ")) {
        begin_entry(whole_scalar(line.substr(2)));
      } else if (line.front() == ':') {
        if (!open_) fail("a value has no key");
        set_value(line.substr(1));
      } else {
        std::string_view value = line;
        begin_entry(key_of(value));
        set_value(value);
      }
    }
    return std::move(entries_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(name_ + ":" + std::to_string(line_) + ": " + what +
                    "; read are lines KEY: VALUE of YAML, values also lists");
  }

  /// The next line that says something.
  bool next(std::string_view& line) {
    while (!rest_.empty()) {
      const std::size_t end = std::min(rest_.find('\n'), rest_.size());
      line = rest_.substr(0, end);
      rest_.remove_prefix(std::min(end + 1, rest_.size()));
      ++line_;
      while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);
      if (!line.empty() && line.front() != '#' && line != "---" && line != "..." &&
          !line.starts_with("%"))
        return true;
    }
    return false;
  }

  void begin_entry(std::string key) {
    entries_.push_back({std::move(key), {}, false, line_});
    open_ = true;
  }

  void add_item(std::string_view text) {
    if (!open_ || (!entries_.back().values.empty() && !entries_.back().list))
      fail("an item of a list has no key");
    entries_.back().list = true;
    entries_.back().values.push_back(whole_scalar(without_blanks(text)));
  }

  /// A line of a list, or a value below its key.
  void read_indented(std::string_view line) {
    if (line.starts_with("- ") || line == "-")
      add_item(line.substr(1));
    else if (open_ && entries_.back().values.empty() && !entries_.back().list)
      set_value(line);
    else
      fail("a map within the map");
  }

  void set_value(std::string_view text) {
    text = without_blanks(text);
    YamlEntry& entry = entries_.back();
    if (text.empty()) return;  // it follows, or there is none
    if (text.front() == '{' || text.front() == '|' || text.front() == '>' || text.front() == '&')
      fail("a value of another kind");
    if (text.front() != '[') {
      entry.values.push_back(whole_scalar(text));
      return;
    }
    entry.list = true;
    text.remove_prefix(1);
    for (;;) {
      text = without_blanks(text);
      if (text.starts_with("]")) break;
      entry.values.push_back(item_of(text));
      text = without_blanks(text);
      if (text.starts_with(","))
        text.remove_prefix(1);
      else if (!text.starts_with("]"))
        fail("a list has no end");
    }
  }

  /// Takes an item of a list in brackets.
  std::string item_of(std::string_view& text) {
    if (const auto quoted = take_quoted(text)) return *quoted;
    const std::size_t end = std::min(text.find_first_of(",]"), text.size());
    const std::string_view item = without_blanks(text.substr(0, end));
    text.remove_prefix(end);
    return std::string(item);
  }

  /// Takes a key and the colon behind it.
  std::string key_of(std::string_view& text) {
    if (const auto quoted = take_quoted(text)) {
      text = without_blanks(text);
      if (!text.starts_with(":")) fail("a key has no colon");
      text.remove_prefix(1);
      return *quoted;
    }
    std::size_t end = text.find(": ");
    if (end == std::string_view::npos && text.back() == ':') end = text.size() - 1;
    if (end == std::string_view::npos) fail("a line has no colon");
    std::string key(without_blanks(text.substr(0, end)));
    text.remove_prefix(end + 1);
    return key;
  }

  /// A scalar that ends with its line, but for a comment.
  std::string whole_scalar(std::string_view text) {
    text = without_blanks(text);
    if (const auto quoted = take_quoted(text)) {
      text = without_blanks(text);
      if (!text.empty() && text.front() != '#') fail("text behind a quoted scalar");
      return *quoted;
    }
    return std::string(without_blanks(text.substr(0, std::min(text.find(" #"), text.size()))));
  }

  /// Takes a quoted scalar; empty where the text begins with none.
  std::optional<std::string> take_quoted(std::string_view& text) {
    if (text.empty() || (text.front() != '"' && text.front() != '\'')) return std::nullopt;
    const char quote = text.front();
    text.remove_prefix(1);
    std::string out;
    while (!text.empty()) {
      const char c = text.front();
      text.remove_prefix(1);
      if (c == '\'' && quote == '\'' && text.starts_with("'")) {
        out += c;
        text.remove_prefix(1);
      } else if (c == quote) {
        return out;
      } else if (c == '\\' && quote == '"') {
        take_escape(text, out);
      } else {
        out += c;
      }
    }
    fail("a quoted scalar has no end");
  }

  void take_escape(std::string_view& text, std::string& out) {
    if (text.empty()) fail("a quoted scalar has no end");
    const char c = text.front();
    text.remove_prefix(1);
    constexpr std::string_view kNames = "0abtnvfre\"/\\N_LP";
    constexpr std::uint32_t kCodes[] = {0,    7,    8,    9,    10,   11,   12,     13,
                                        0x1b, 0x22, 0x2f, 0x5c, 0x85, 0xa0, 0x2028, 0x2029};
    if (const std::size_t at = kNames.find(c); at != std::string_view::npos) {
      append_utf8(out, kCodes[at]);
      return;
    }
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0 || text.size() < digits) fail(std::string("the escape \\") + c);
    std::uint32_t code = 0;
    for (const char digit : text.substr(0, digits)) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      const std::size_t value = kDigits.find(static_cast<char>(digit | 0x20));
      if (value == std::string_view::npos || digit < '0') fail(std::string("the escape \\") + c);
      code = code << 4 | static_cast<std::uint32_t>(value);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      fail(std::string("the escape \\") + c);
    append_utf8(out, code);
    text.remove_prefix(digits);
  }

  std::string_view rest_;
  const std::string& name_;
  std::vector<YamlEntry> entries_;
  bool open_ = false;
  int line_ = 0;
};

}  // namespace

std::vector<YamlEntry> read_yaml_map(std::string_view text, const std::string& name) {
  return MapReader(text, name).read();
}

}  // namespace th::io
