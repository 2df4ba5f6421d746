#include "app/inspect/recorded_scores.hpp"

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "th/base/json_text.hpp"

namespace th::app {
namespace {

using Json = nlohmann::json;

/// JSON has no number that is not finite.
double number_or_nan(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

}  // namespace

std::map<std::string, double> recorded_scores(const std::string& path, std::int64_t step) {
  std::ifstream in(path, std::ios::binary);
  std::map<std::string, double> scores;
  std::int64_t last = 0;  // of the step records so far
  for (std::string line; std::getline(in, line);) {
    try {
      const Json record = parse_json(line);
      const std::string kind = record.at("kind");
      if (kind == "step") last = json_integer(record.at("step"));
      if (kind == "step" && last == step) scores["train loss"] = number_or_nan(record.at("loss"));
      if (kind == "epoch" && last == step && !record.at("valid_loss").is_null())
        scores["valid loss"] = number_or_nan(record.at("valid_loss"));
      if (kind != "eval") continue;
      if ((record.contains("step") ? json_integer(record.at("step")) : last) != step) continue;
      const std::string metric = record.at("metric");
      const std::string set = record.value("set", metric == "valid_loss" ? "valid" : "test");
      scores[set + " " + (metric == "valid_loss" ? "loss" : metric)] =
          number_or_nan(record.at("value"));
    } catch (const Json::exception&) {
      continue;
    }
  }
  return scores;
}

}  // namespace th::app
