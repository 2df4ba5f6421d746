#include "app/inspect/inspect_commands.hpp"
#include "app/inspect/numbers.hpp"
#include "app/inspect/recorded_scores.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "th/base/error.hpp"
#include "th/base/json_text.hpp"
#include "th/train/run_state.hpp"

// info: what a checkpoint is, at a glance: where its run stands, what wrote it, what is in it and
// how good it is.
namespace th::app {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Row {
  std::string name, value;
};

/// "section.key = value" of a resolved deck's lines that were given.
std::vector<std::string> given_keys(const std::string& deck) {
  std::vector<std::string> out;
  std::istringstream in(deck);
  std::string section;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("[") && line.ends_with("]"))
      section = line.substr(1, line.size() - 2);
    else if (line.find(" = ") != std::string::npos && !line.starts_with("#") &&
             !line.ends_with("  # default"))
      out.push_back(section + "." + line.substr(0, line.rfind("  # ")));
  }
  return out;
}

std::string with_commas(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

Json object_of(const io::CheckpointReader& reader, const train::RunState& state) {
  const io::CheckpointInfo& info = reader.info();
  Json out{{"checkpoint", reader.folder()},
           {"format_version", info.format_version},
           {"step", info.step},
           {"epoch", info.epoch},
           {"step_in_epoch", state.step_in_epoch},
           {"skipped_steps", state.skipped_steps},
           {"run", info.run},
           {"parent", state.parent},
           {"end", state.exit},
           {"altered", state.altered},
           {"world_size", info.world_size},
           {"zero_stage", info.zero_stage},
           {"micro_batches", state.micro_batches},
           {"build", info.build},
           {"identity", info.identity},
           {"parameters", reader.layout().parameter_count()},
           {"tensors", reader.layout().tensors().size()},
           {"groups", reader.kinds()},
           {"source_vocabulary", info.source_tokens.size()},
           {"target_vocabulary", info.target_tokens.size()},
           {"tokenizer", info.source_model.empty() ? "word" : "sentencepiece"},
           {"deck", parse_json(json_quoted(info.deck))}};  // a path in it may be no UTF-8
  try {
    reader.require_complete();
    out["damage"] = nullptr;
  } catch (const CheckpointError& error) {
    out["damage"] = error.what();
  }
  const fs::path run = fs::absolute(reader.folder()).lexically_normal().parent_path().parent_path();
  out["scores"] = Json::object();
  for (const auto& [name, value] : recorded_scores((run / "metrics.jsonl").string(), info.step))
    out["scores"][name] = std::isfinite(value) ? Json(value) : Json(nullptr);
  if (state.best.value && !state.best.metric.empty())
    out["best"] = {{"metric", state.best.metric},
                   {"value", *state.best.value},
                   {"step", state.best.step},
                   {"without_better", state.best.without_better}};
  return out;
}

std::string position_text(const train::RunState& state, const io::CheckpointInfo& info) {
  return std::to_string(info.epoch) + ", " + std::to_string(state.step_in_epoch) +
         " steps of it done" + (state.exit.empty() ? "" : "; the run is " + state.exit) +
         (state.altered.empty() ? "" : "; the parameters are " + state.altered);
}

std::vector<Row> rows_of(const Json& o, const io::CheckpointReader& reader,
                         const train::RunState& state) {
  const io::CheckpointInfo& info = reader.info();
  const auto text = [&](const char* key) { return json_text(o[key]); };
  std::vector<Row> rows{
      {"checkpoint", reader.folder()},
      {"step", text("step")},
      {"epoch", position_text(state, info)},
      {"run", (info.run.empty() ? "has no id" : info.run) +
                  (state.parent.empty() ? "" : ", from run " + state.parent)},
      {"written by", text("world_size") + (text("world_size") == "1" ? " rank" : " ranks") +
                         " at ZeRO stage " + text("zero_stage") + ", " + text("micro_batches") +
                         " slots a step"},
      {"build", info.build},
      {"identity", info.identity},
      {"shards", o["damage"].is_null() ? text("world_size") + ", all there (verify checks the sums)"
                                       : o["damage"].get<std::string>()},
      {"parameters", text("parameters") + " in " + text("tensors") + " tensors"},
      {"groups", with_commas(reader.kinds())},
      {"vocabularies", info.source_tokens.empty()
                           ? "none: trained on random ids"
                           : "source " + text("source_vocabulary") + ", target " +
                                 text("target_vocabulary") +
                                 (info.source_model.empty() ? " words" : " pieces")}};
  for (const auto& [name, value] : o["scores"].items())
    rows.push_back({name, value.is_null() ? "not finite" : number_text(value, 6)});
  if (o.contains("best"))
    rows.push_back({"best so far", o["best"]["metric"].get<std::string>() + " " +
                                       number_text(o["best"]["value"], 6) + " at step " +
                                       json_text(o["best"]["step"])});
  return rows;
}

}  // namespace

int inspect_info(const InspectRequest& request) {
  const auto reader = open_checkpoint(request.words[0]);
  const train::RunState state = train::run_state_from_json(reader->info().state_json);
  const Json object = object_of(*reader, state);
  if (request.json) {
    std::cout << json_text(object) << '\n';
    return 0;
  }
  constexpr std::size_t kWidth = 16;
  for (const Row& row : rows_of(object, *reader, state))
    std::cout << row.name << std::string(kWidth - std::min(kWidth - 1, row.name.size()), ' ')
              << row.value << '\n';
  std::cout << "deck, keys that were given:\n";
  for (const std::string& line : given_keys(reader->info().deck)) std::cout << "  " << line << '\n';
  return 0;
}

}  // namespace th::app
