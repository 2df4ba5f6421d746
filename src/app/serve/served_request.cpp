#include "app/serve/served_request.hpp"

#include "app/serve/json_member.hpp"
#include "th/data/text.hpp"

#include <nlohmann/json.hpp>

#include <array>

namespace th::app {

namespace {

using nlohmann::json;

constexpr const char* kMembers =
    "\"id\", \"text\", \"prefix\", \"number\", \"beam\", \"n_best\", \"max_length\" and "
    "\"min_length\"";

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

bool take_text(const std::string& key, const json& value, ServedRequest& request) {
  std::string* const place = key == "text"     ? &request.text
                             : key == "prefix" ? &request.prefix
                                               : nullptr;
  if (place == nullptr || !value.is_string()) return false;
  *place = value.get<std::string>();
  return true;
}

/// A member that is a count from 1 on, and "number", which counts from 0.
bool take_count(const std::string& key, const json& value, ServedRequest& request) {
  if (!value.is_number_unsigned()) return false;
  if (key == "number") {
    request.number = value.get<std::uint64_t>();
    return true;
  }
  constexpr std::uint64_t kMostCount = std::uint64_t{1} << 40;
  const auto count = value.get<std::uint64_t>();
  if (count < 1 || count > kMostCount) return false;
  RequestedSearch& search = request.search;
  const std::array<std::pair<const char*, std::int64_t*>, 4> places{
      {{"beam", &search.beam},
       {"n_best", &search.n_best},
       {"max_length", &search.max_length},
       {"min_length", &search.min_length}}};
  for (const auto& [name, place] : places) {
    if (key != name) continue;
    *place = static_cast<std::int64_t>(count);
    return true;
  }
  return false;
}

bool is_member(const std::string& key) {
  return !key.empty() && std::string_view(kMembers).find('"' + key + '"') != std::string_view::npos;
}

/// What is wrong with the members beside "id"; fills the request.
std::string read_members(const json& object, ServedRequest& request) {
  for (const auto& [key, value] : object.items()) {
    if (key == "id" || take_text(key, value, request) || take_count(key, value, request)) continue;
    if (!is_member(key))
      return "\"" + key.substr(0, 64) + "\" is not known; a request has " + kMembers;
    return "\"" + key +
           "\" has another kind or range; \"text\" and \"prefix\" are strings, \"number\" is an "
           "integer from 0, the others from 1";
  }
  if (!object.contains("text")) return "the request has no \"text\"";
  for (const std::string* line : {&request.text, &request.prefix}) {
    if (line->find_first_of(std::string_view("\n\r\0", 3)) != std::string::npos)
      return std::string(line == &request.text ? "\"text\"" : "\"prefix\"") +
             " holds a line end or a zero byte; it is one line";
  }
  return "";
}

}  // namespace

ParsedLine parse_request_line(std::string_view line) {
  ParsedLine parsed;
  parsed.request.id = "null";
  if (data::is_white(line)) {
    parsed.fault = "the line is empty; a request is a JSON object";
    return parsed;
  }
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) {
    parsed.fault = "the line is no JSON object in UTF-8";
    return parsed;
  }
  if (const std::string_view id = json_member(line, "id"); !id.empty()) parsed.request.id = id;
  parsed.fault = read_members(object, parsed.request);
  return parsed;
}

std::string answer_line(const ServedRequest& request, const std::vector<ServedText>& texts,
                        const std::string& warning) {
  std::string line = "{\"id\":" + request.id + ",\"text\":" + dumped(texts.at(0).text) +
                     ",\"score\":" + dumped(texts.at(0).score);
  if (request.search.n_best > 0) {
    json best = json::array();
    for (const ServedText& one : texts) best.push_back({{"text", one.text}, {"score", one.score}});
    line += ",\"best\":" + dumped(best);
  }
  if (!warning.empty()) line += ",\"warning\":" + dumped(warning);
  return line + "}\n";
}

std::string error_line(const std::string& id, const std::string& error) {
  return "{\"id\":" + id + ",\"error\":" + dumped(error) + "}\n";
}

}  // namespace th::app
