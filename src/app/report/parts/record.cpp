#include "app/report/parts/record.hpp"

#include <charconv>
#include <nlohmann/json.hpp>
#include <system_error>

#include "th/base/json_text.hpp"

namespace th::app {

bool Record::parse(std::string_view line) { return parse_plain(line) || parse_json_line(line); }

/// {"name":value,…} without white space, where a value is a text without escapes, or has neither
/// commas nor brackets.
bool Record::parse_plain(std::string_view line) {
  members_.clear();
  if (line.size() < 2 || line.front() != '{' || line.back() != '}') return false;
  line = line.substr(1, line.size() - 1);  // the '}' stays and ends the last value
  const auto take_text = [&](std::string_view& out) {
    if (line.empty() || line.front() != '"') return false;
    const std::size_t end = line.find_first_of("\"\\", 1);
    if (end == std::string_view::npos || line[end] != '"') return false;
    out = line.substr(1, end - 1);
    line.remove_prefix(end + 1);
    return true;
  };
  while (true) {
    std::string_view name, value;
    if (!take_text(name) || line.empty() || line.front() != ':') return false;
    line.remove_prefix(1);
    if (!take_text(value)) {
      const std::size_t end = line.find_first_of(",}[{\"\\");
      if (end == std::string_view::npos || end == 0) return false;
      value = line.substr(0, end);
      line.remove_prefix(end);
    }
    members_.emplace_back(name, value);
    if (line == "}") return true;
    if (line.empty() || line.front() != ',') return false;
    line.remove_prefix(1);
  }
}

bool Record::parse_json_line(std::string_view line) {
  members_.clear();
  owned_.clear();
  try {
    const nlohmann::json object = parse_json(std::string(line));
    if (!object.is_object()) return false;
    for (const auto& [name, value] : object.items()) {
      owned_.push_back(name);
      const std::string& kept = owned_.back();
      owned_.push_back(value.is_string() ? value.get<std::string>() : json_text(value));
      members_.emplace_back(kept, owned_.back());
    }
  } catch (const nlohmann::json::exception&) {
    return false;
  }
  return true;
}

const std::string_view* Record::find(std::string_view name) const {
  for (const auto& [key, value] : members_)
    if (key == name) return &value;
  return nullptr;
}

std::optional<double> Record::number(std::string_view name) const {
  const std::string_view* const found = find(name);
  if (found == nullptr) return std::nullopt;
  double value = 0;
  const char* const end = found->data() + found->size();
  const auto [stop, error] = std::from_chars(found->data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

std::string_view Record::text(std::string_view name) const {
  const std::string_view* const found = find(name);
  return found == nullptr ? std::string_view() : *found;
}

}  // namespace th::app
