#include "th/base/json_text.hpp"

#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

namespace th {
namespace {

/// Throws parse_error where brackets outside of strings nest deeper than kDeepestJson.
void require_shallow(const std::string& text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      if (c == '\\')
        ++at;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if ((c == '[' || c == '{') && ++depth > kDeepestJson) {
      throw nlohmann::json::parse_error::create(
          101, at + 1, "arrays and objects are more than " + std::to_string(kDeepestJson) + " deep",
          nullptr);
    }
  }
}

[[noreturn]] void refuse_number(const std::string& seen, const char* wanted) {
  throw nlohmann::json::type_error::create(
      302, std::string("type must be ") + wanted + ", but is " + seen, nullptr);
}

}  // namespace

nlohmann::json parse_json(const std::string& text) {
  require_shallow(text);
  return nlohmann::json::parse(text);
}

nlohmann::json parse_json(const std::string& text,
                          const std::function<void(const std::string& name)>& twice) {
  using Json = nlohmann::json;
  require_shallow(text);
  std::vector<std::set<std::string>> names;
  return Json::parse(text, [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end) names.pop_back();
    if (event == Json::parse_event_t::key) {
      const auto& name = value.get_ref<const std::string&>();
      if (!names.back().insert(name).second) twice(name);
    }
    return true;
  });
}

std::int64_t json_integer(const nlohmann::json& value) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  if (!value.is_number_integer()) refuse_number(value.type_name(), "an integer");
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > kMost)
    refuse_number("too large", "an integer of 64 bits");
  return value.get<std::int64_t>();
}

std::uint64_t json_unsigned(const nlohmann::json& value) {
  if (!value.is_number_integer()) refuse_number(value.type_name(), "an integer from 0");
  if (!value.is_number_unsigned() && value.get<std::int64_t>() < 0)
    refuse_number("negative", "an integer from 0");
  return value.get<std::uint64_t>();
}

std::vector<std::int64_t> json_integers(const nlohmann::json& value) {
  if (!value.is_array()) refuse_number(value.type_name(), "an array");
  std::vector<std::int64_t> out;
  out.reserve(value.size());
  for (const nlohmann::json& one : value) out.push_back(json_integer(one));
  return out;
}

std::string json_text(const nlohmann::json& value) { return value.dump(); }

std::string json_text(const nlohmann::ordered_json& value) { return value.dump(); }

std::string json_quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace th
