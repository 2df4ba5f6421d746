#include "app/serve/served_request.hpp"

#include <nlohmann/json.hpp>

namespace th::app {

namespace {

using nlohmann::json;

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

/// What is wrong with the members beside "id"; fills the request.
std::string read_members(const json& object, ServedRequest& request) {
  for (const auto& [key, value] : object.items()) {
    if (key == "id") continue;
    if (key == "text" && value.is_string()) {
      request.text = value.get<std::string>();
    } else if (key == "number" && value.is_number_unsigned()) {
      request.number = value.get<std::uint64_t>();
    } else if (key == "text" || key == "number") {
      return "\"" + key + "\" is of another kind; \"text\" is a string, \"number\" counts from 0";
    } else {
      return "\"" + key.substr(0, 64) +
             "\" is not known; a request has \"id\", \"text\" and \"number\"";
    }
  }
  if (!object.contains("text")) return "the request has no \"text\"";
  if (request.text.find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos)
    return "\"text\" holds a line end or a zero byte; it is one line";
  return "";
}

}  // namespace

ParsedLine parse_request_line(std::string_view line) {
  ParsedLine parsed;
  parsed.request.id = "null";
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) {
    parsed.fault = "the line is no JSON object in UTF-8";
    return parsed;
  }
  if (const auto id = object.find("id"); id != object.end()) parsed.request.id = id->dump();
  parsed.fault = read_members(object, parsed.request);
  return parsed;
}

std::string answer_line(const ServedRequest& request, const std::string& text, double score,
                        const std::string& warning) {
  json answer{{"id", json::parse(request.id)}, {"text", text}, {"score", score}};
  if (!warning.empty()) answer["warning"] = warning;
  return dumped(answer);
}

std::string error_line(const std::string& id, const std::string& error) {
  return dumped({{"id", json::parse(id)}, {"error", error}});
}

}  // namespace th::app
