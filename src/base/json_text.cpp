#include "th/base/json_text.hpp"

#include <nlohmann/json.hpp>
#include <set>
#include <vector>

namespace th {

nlohmann::json parse_json(const std::string& text) { return nlohmann::json::parse(text); }

nlohmann::json parse_json(const std::string& text,
                          const std::function<void(const std::string& name)>& twice) {
  using Json = nlohmann::json;
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

std::string json_text(const nlohmann::json& value) { return value.dump(); }

std::string json_text(const nlohmann::ordered_json& value) { return value.dump(); }

std::string json_quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace th
