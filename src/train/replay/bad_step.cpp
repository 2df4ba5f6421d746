#include "th/train/replay/bad_step.hpp"

#include "th/base/error.hpp"
#include "th/base/json_text.hpp"

#include <nlohmann/json.hpp>

#include <fstream>
#include <iterator>
#include <limits>

namespace th::train {

namespace {

using Json = nlohmann::json;

constexpr int kFormat = 1;

Json json_of(const data::Batch& batch) {
  return {{"source", batch.source},
          {"target_in", batch.target_in},
          {"target_out", batch.target_out},
          {"source_lengths", batch.source_lengths},
          {"target_lengths", batch.target_lengths}};
}

std::int64_t sum_of(const std::vector<std::int32_t>& lengths, std::int64_t& longest) {
  std::int64_t sum = 0;
  for (const std::int32_t length : lengths) {
    if (length < 1) throw DataError("a sentence has no ids");
    longest = std::max<std::int64_t>(longest, length);
    sum += length;
  }
  return sum;
}

data::Batch batch_from(const Json& json) {
  data::Batch batch;
  json.at("source").get_to(batch.source);
  json.at("target_in").get_to(batch.target_in);
  json.at("target_out").get_to(batch.target_out);
  json.at("source_lengths").get_to(batch.source_lengths);
  json.at("target_lengths").get_to(batch.target_lengths);
  batch.sentences = std::ssize(batch.source_lengths);
  batch.source_tokens = sum_of(batch.source_lengths, batch.source_length);
  batch.target_tokens = sum_of(batch.target_lengths, batch.target_length);
  if (std::ssize(batch.target_lengths) != batch.sentences ||
      std::ssize(batch.source) != batch.source_tokens ||
      std::ssize(batch.target_in) != batch.target_tokens ||
      std::ssize(batch.target_out) != batch.target_tokens)
    throw DataError("a micro-batch has other numbers of ids than its lengths say");
  return batch;
}

double number_or_nan(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

}  // namespace

std::string slots_json(const std::vector<data::Batch>& slots) {
  Json all = Json::array();
  for (const data::Batch& batch : slots) all.push_back(json_of(batch));
  return json_text(all);
}

std::vector<std::string> slots_of(const std::string& json) {
  std::vector<std::string> out;
  for (const Json& one : parse_json(json)) out.push_back(json_text(one));
  return out;
}

std::string bad_step_json(const BadStep& bad, const std::vector<std::string>& slots) {
  Json json{{"format", kFormat},
            {"step", bad.step},
            {"optimizer_step", bad.optimizer_step},
            {"loss", bad.loss},
            {"grad_norm", bad.grad_norm},
            {"loss_scale", bad.loss_scale},
            {"source_per_target", bad.source_per_target},
            {"not_finite", bad.not_finite},
            {"deck", bad.deck},
            {"checkpoint", bad.checkpoint}};
  std::string text = json_text(json);
  text.pop_back();  // the brace
  text += ",\"slots\":[";
  for (std::size_t s = 0; s < slots.size(); ++s) text += (s == 0 ? "" : ",\n") + slots[s];
  return text + "]}\n";
}

BadStep read_bad_step(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) throw DataError(path + ": can't be read");
  try {
    const Json json = parse_json(text);
    if (json.at("format") != kFormat)
      throw DataError("format " + json_text(json.at("format")) + ", this program reads " +
                      std::to_string(kFormat));
    BadStep bad;
    bad.step = json_integer(json.at("step"));
    bad.optimizer_step = json_integer(json.at("optimizer_step"));
    bad.loss = number_or_nan(json.at("loss"));
    bad.grad_norm = number_or_nan(json.at("grad_norm"));
    json.at("loss_scale").get_to(bad.loss_scale);
    json.at("source_per_target").get_to(bad.source_per_target);
    json.at("not_finite").get_to(bad.not_finite);
    json.at("deck").get_to(bad.deck);
    json.at("checkpoint").get_to(bad.checkpoint);
    for (const Json& slot : json.at("slots")) bad.slots.push_back(batch_from(slot));
    if (bad.step < 1 || bad.slots.empty()) throw DataError("it has no step or no micro-batch");
    return bad;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(path + ": is no step that th_app has kept: " + error.what());
  } catch (const DataError& error) {
    throw DataError(path + ": is no step that th_app has kept: " + error.what());
  }
}

}  // namespace th::train
