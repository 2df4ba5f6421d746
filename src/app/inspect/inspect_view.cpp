#include "app/inspect/inspect_commands.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>

#include "th/base/base64.hpp"
#include "th/base/error.hpp"
#include "th/base/json_text.hpp"
#include "th/config/deck.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/slice.hpp"

// The commands that look at one checkpoint: ls, stat, verify, show.
namespace th::app {

using Json = nlohmann::json;

std::string TensorEntry::full_name() const {
  return kind == "parameters" ? name : kind + "/" + name;
}

std::unique_ptr<io::CheckpointReader> open_checkpoint(const std::string& path) {
  auto reader = std::make_unique<io::CheckpointReader>(path);
  for (const auto& note : reader->notes()) std::cerr << "th_inspect: " << note << '\n';
  return reader;
}

void require_sound(const io::CheckpointReader& reader) {
  const auto problems = reader.verify();
  if (!problems.empty())
    throw CheckpointError(reader.folder() + " is damaged: " + problems.front());
}

std::string deck_without_average(const std::string& deck) {
  const auto load = [&](const std::vector<std::string>& overrides) {
    return config::load_deck_text(deck, "the checkpoint's deck", "/", overrides);
  };
  try {
    if (load({}).config.decode.parameters == config::DecodeParameters::kTrained) return deck;
    return config::resolved_text(load({"decode.parameters=trained", "train.ema_decay=0"}));
  } catch (const DeckError&) {
    return deck;  // of another build: whoever uses it says what is wrong
  }
}

std::vector<TensorEntry> entries(const io::CheckpointReader& reader) {
  std::vector<TensorEntry> all;
  const auto& tensors = reader.layout().tensors();
  for (const auto& kind : reader.kinds()) {
    for (const auto& tensor : tensors) all.push_back({kind, tensor.spec.name, &tensor.spec, false});
    for (const auto& alias : reader.info().aliases) {
      all.push_back({kind, alias.alias,
                     &tensors[static_cast<std::size_t>(reader.tensor_index(alias.alias))].spec,
                     true});
    }
  }
  return all;
}

void answer(const InspectRequest& request, const std::string& text, const std::string& json) {
  std::cout << (request.json ? json : text) << '\n';
}

namespace {

Json statistics(const std::vector<float>& values) {
  double sum = 0, squares = 0, low = HUGE_VAL, high = -HUGE_VAL;
  std::int64_t finite = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    ++finite;
    sum += value;
    low = std::min<double>(low, value);
    high = std::max<double>(high, value);
  }
  const double mean =
      finite > 0 ? sum / static_cast<double>(finite) : std::numeric_limits<double>::quiet_NaN();
  for (const float value : values) {
    if (std::isfinite(value)) squares += (value - mean) * (value - mean);
  }
  return {{"mean", mean},
          {"deviation", std::sqrt(squares / static_cast<double>(finite))},
          {"min", low},
          {"max", high},
          {"non_finite", static_cast<std::int64_t>(values.size()) - finite}};
}

/// A line a tensor, columns below one another.
int stat_table(const io::CheckpointReader& reader, const std::vector<TensorEntry>& all) {
  std::size_t width = 4;
  for (const auto& entry : all) width = std::max(width, entry.full_name().size());
  std::array<char, 120> cells{};
  std::snprintf(cells.data(), cells.size(), "  %13s %13s %13s %13s %11s", "mean", "deviation",
                "min", "max", "not finite");
  std::cout << "name" << std::string(width - 4, ' ') << cells.data() << '\n';
  for (const auto& entry : all) {
    const Json row = statistics(reader.read_tensor(entry.kind, entry.name));
    const auto at = [&](const char* key) { return row[key].get<double>(); };
    std::snprintf(cells.data(), cells.size(), "  %13.6g %13.6g %13.6g %13.6g %11.0f", at("mean"),
                  at("deviation"), at("min"), at("max"), at("non_finite"));
    const std::string name = entry.full_name();
    std::cout << name << std::string(width - name.size(), ' ') << cells.data() << '\n';
  }
  return 0;
}

int report(const std::vector<std::string>& problems, const InspectRequest& request,
           const std::string& folder) {
  if (request.json) {
    std::cout << json_text(
                     Json{{"ok", problems.empty()}, {"checkpoint", folder}, {"problems", problems}})
              << '\n';
  } else {
    for (const auto& problem : problems) std::cout << problem << '\n';
    if (problems.empty()) std::cout << folder << ": every shard and checksum is right\n";
  }
  return problems.empty() ? 0 : 1;
}

}  // namespace

int inspect_ls(const InspectRequest& request) {
  const auto reader = open_checkpoint(request.words[0]);
  Json out = Json::array();
  for (const auto& entry : entries(*reader)) {
    const char* type = reader->info().is_short(entry.kind) ? "bfloat16" : "float32";
    if (request.json)
      out.push_back({{"name", entry.full_name()}, {"shape", entry.spec->shape}, {"dtype", type}});
    else
      std::cout << entry.full_name() << ' ' << json_text(Json(entry.spec->shape)) << ' ' << type
                << '\n';
  }
  if (request.json) std::cout << json_text(out) << '\n';
  return 0;
}

int inspect_stat(const InspectRequest& request) {
  const auto reader = open_checkpoint(request.words[0]);
  const std::vector<TensorEntry> all = entries(*reader);
  if (!request.json) return stat_table(*reader, all);
  Json out = Json::object();
  for (const auto& entry : all)
    out[entry.full_name()] = statistics(reader->read_tensor(entry.kind, entry.name));
  std::cout << json_text(out) << '\n';
  return 0;
}

int inspect_verify(const InspectRequest& request) {
  try {
    const io::CheckpointReader reader(request.words[0]);
    // Of a run: what was passed over on the way to a whole checkpoint.
    std::vector<std::string> problems = reader.notes();
    const std::vector<std::string> here = reader.verify();
    problems.insert(problems.end(), here.begin(), here.end());
    if (!problems.empty() && here.empty()) problems.push_back(reader.folder() + " is whole");
    return report(problems, request, reader.folder());
  } catch (const io::NoCheckpointError&) {  // nothing that could be damaged
    throw;
  } catch (const NewerFormatError&) {
    throw;
  } catch (const CheckpointError& error) {  // model.h5 itself is damaged
    return report({error.what()}, request, request.words[0]);
  }
}

namespace {

/// vocabulary/source, vocabulary/target: tokens, one a line; vocabulary/source_model, …: the bytes
/// of the tokenizer's model, as SentencePiece reads them from a file.
int show_vocabulary(const InspectRequest& request, const io::CheckpointReader& reader,
                    const std::string& name, const std::string& slice) {
  const io::CheckpointInfo& info = reader.info();
  const bool source = name.starts_with("source");
  if (name == "source_model" || name == "target_model") {
    const std::string& model = source ? info.source_model : info.target_model;
    if (model.empty())
      throw CheckpointError(reader.folder() + " holds no tokenizer's model: its tokens are words");
    if (request.json)
      std::cout << json_text(Json(base64_text(model))) << '\n';
    else
      std::cout.write(model.data(), std::ssize(model));
    return 0;
  }
  if (name != "source" && name != "target")
    throw CheckpointError("no vocabulary/" + name + " in " + reader.folder() +
                          "; it has source, target, source_model and target_model");
  const std::vector<std::string>& all = source ? info.source_tokens : info.target_tokens;
  const io::IndexRange range = io::parse_slice(slice, {std::ssize(all)})[0];
  const std::vector<std::string> tokens(all.begin() + range.begin, all.begin() + range.end);
  if (request.json) {
    std::cout << json_text(Json(tokens)) << '\n';
    return 0;
  }
  for (const std::string& token : tokens) std::cout << token << '\n';
  return 0;
}

}  // namespace

int inspect_show(const InspectRequest& request) {
  auto [name, slice] = io::split_slice(request.words[1]);
  const auto reader = open_checkpoint(request.words[0]);
  constexpr std::string_view kVocabulary = "vocabulary/";
  if (name.starts_with(kVocabulary))
    return show_vocabulary(request, *reader, name.substr(kVocabulary.size()), slice);
  std::string kind = "parameters";
  if (const auto at = name.find('/'); at != std::string::npos) {
    kind = name.substr(0, at);
    name.erase(0, at + 1);
  }
  const auto kinds = reader->kinds();
  if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end())
    throw CheckpointError("no state " + kind + " in " + reader->folder());
  const auto& shape =
      reader->layout().tensors()[static_cast<std::size_t>(reader->tensor_index(name))].spec.shape;
  const auto ranges = io::parse_slice(slice, shape);
  const io::RowSpan span = io::rows_to_read(ranges, shape);
  std::vector<float> values(static_cast<std::size_t>(span.count));
  reader->read_elements(kind, name, span.begin, values);
  const auto rows = io::take_rows(values, ranges, shape);
  if (request.json) {
    std::cout << json_text(Json(rows)) << '\n';
    return 0;
  }
  std::cout.precision(std::numeric_limits<float>::max_digits10);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) std::cout << (i == 0 ? "" : " ") << row[i];
    std::cout << '\n';
  }
  return 0;
}

}  // namespace th::app
