#include "app/inspect/inspect_commands.hpp"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "th/base/base64.hpp"
#include "th/base/error.hpp"
#include "th/base/json_text.hpp"
#include "th/config/state_names.hpp"
#include "th/io/checkpoint/output.hpp"
#include "th/io/formats/npz.hpp"
#include "th/io/formats/safetensors.hpp"

// export: a checkpoint as one safetensors or npz file, tensor by tensor, or for CTranslate2.
namespace th::app {
namespace {

using Json = nlohmann::json;

enum class Format { kSafetensors, kNpz, kCtranslate2 };

Format format_of(const InspectRequest& request) {
  std::string name = request.format;
  if (name.empty()) {
    const std::string extension = std::filesystem::path(request.output).extension().string();
    name = extension.empty() ? "" : extension.substr(1);
    if (name != "safetensors" && name != "npz")
      throw DeckError("--format is missing and " + request.output +
                      " does not end in .safetensors or .npz");
  }
  if (name == "ctranslate2") return Format::kCtranslate2;
  if (name != "safetensors" && name != "npz")
    throw DeckError("--format " + name + " is unknown; allowed safetensors, npz, ctranslate2");
  return name == "npz" ? Format::kNpz : Format::kSafetensors;
}

ElementType type_of(const InspectRequest& request, Format format) {
  static const std::map<std::string, ElementType> kTypes = {
      {"fp32", ElementType::kFp32}, {"bf16", ElementType::kBf16}, {"fp16", ElementType::kFp16}};
  const auto found = kTypes.find(request.dtype);
  if (found == kTypes.end())
    throw DeckError("--dtype " + request.dtype + " is unknown; allowed fp32, bf16, fp16");
  if (found->second == ElementType::kBf16 && format == Format::kNpz) {
    throw DeckError(
        "--dtype bf16 can't go into npz: numpy has no bfloat16; give --dtype fp16, or --format "
        "safetensors");
  }
  return found->second;
}

/// Everything of a checkpoint but its tensors, as th_inspect import reads it again.
std::map<std::string, std::string> metadata_of(const io::CheckpointInfo& info, bool states) {
  Json aliases = Json::object();
  for (const auto& alias : info.aliases) aliases[alias.alias] = alias.tensor;
  std::map<std::string, std::string> all = {
      {"format", "pt"},  // tensors are named and laid out as PyTorch's: what its loaders ask for
      {"th_app_checkpoint", std::to_string(info.format_version)},
      {"step", std::to_string(info.step)},
      {"epoch", std::to_string(info.epoch)},
      {"zero_stage", std::to_string(info.zero_stage)},
      {"deck", states ? info.deck : deck_without_average(info.deck)},
      {"identity", info.identity},
      {"build", info.build},
      {"state", info.state_json},
      {"state_names", json_text(Json(states ? info.state_names : std::vector<std::string>{}))},
      {"aliases", json_text(aliases)},
      {"vocabulary_source", json_text(Json(info.source_tokens))},
      {"vocabulary_target", json_text(Json(info.target_tokens))}};
  if (!info.source_model.empty()) all["tokenizer_source"] = base64_text(info.source_model);
  if (!info.target_model.empty()) all["tokenizer_target"] = base64_text(info.target_model);
  return all;
}

/// The group of a checkpoint that is exported as its parameters.
std::string group_of(const InspectRequest& request, const io::CheckpointReader& reader) {
  if (request.parameters == "trained") return "parameters";
  if (request.parameters != config::kAverageName)
    throw DeckError("--parameters " + request.parameters + " is unknown; allowed trained, ema");
  if (request.states)
    throw DeckError("--parameters ema contradicts --states, which belong to the trained ones");
  if (!reader.info().has_state(config::kAverageName))
    throw CheckpointError(reader.folder() + " holds no moving average of the parameters");
  return config::kAverageName;
}

/// Reads tensors and counts those values that the element type can't hold.
class TensorFeed {
 public:
  /// `parameters`: the group that the parameters' values come from.
  TensorFeed(const io::CheckpointReader& reader, ElementType type, std::string parameters)
      : reader_(reader), type_(type), parameters_(std::move(parameters)) {}

  std::vector<float> read(const TensorEntry& entry) {
    const bool state = entry.kind != "parameters";
    std::vector<float> values = reader_.read_tensor(state ? entry.kind : parameters_, entry.name);
    if (state) return values;
    overflowed_ += io::count_overflows(values, type_);
    return values;
  }
  [[nodiscard]] ElementType type(const TensorEntry& entry) const {
    return entry.kind == "parameters" ? type_ : ElementType::kFp32;
  }
  [[nodiscard]] std::int64_t overflowed() const noexcept { return overflowed_; }

 private:
  const io::CheckpointReader& reader_;
  ElementType type_;
  std::string parameters_;
  std::int64_t overflowed_ = 0;
};

void write_safetensors(io::OutputFile& file, TensorFeed& feed,
                       const std::vector<TensorEntry>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<io::SafetensorsEntry> plan;
  std::map<std::string, const TensorEntry*> by_name;
  for (const auto& entry : tensors) {
    plan.push_back({entry.full_name(), entry.spec->shape, feed.type(entry), 0, 0});
    by_name[entry.full_name()] = &entry;
  }
  io::SafetensorsWriter writer(file, std::move(plan), metadata);
  for (const auto& tensor : writer.tensors()) writer.write(feed.read(*by_name.at(tensor.name)));
}

void write_npz(io::OutputFile& file, TensorFeed& feed, const std::vector<TensorEntry>& tensors) {
  io::NpzWriter writer(file);
  for (const auto& entry : tensors)
    writer.add(entry.full_name(), entry.spec->shape, feed.type(entry), feed.read(entry));
  writer.finish();
}

/// A tied tensor stands once in safetensors, whose metadata names its aliases; npz has no metadata,
/// there it stands under each name.
std::vector<TensorEntry> chosen(const io::CheckpointReader& reader, Format format, bool states) {
  std::vector<TensorEntry> out = entries(reader);
  std::erase_if(out, [&](const TensorEntry& entry) {
    return (entry.is_alias && format == Format::kSafetensors) ||
           (!states && entry.kind != "parameters");
  });
  return out;
}

}  // namespace

void warn_of_overflows(const InspectRequest& request, std::int64_t overflowed) {
  if (overflowed == 0) return;
  std::cerr << "th_inspect: warning: " << overflowed << " values are too large for "
            << request.dtype << " and became infinite\n";
}

int inspect_export(const InspectRequest& request) {
  if (request.output.empty()) throw DeckError("export needs --output FILE");
  const Format format = format_of(request);
  const ElementType type = type_of(request, format);
  if (request.states && format == Format::kCtranslate2)
    throw DeckError("--states contradicts --format ctranslate2, which holds a model alone");
  const auto reader = open_checkpoint(request.words[0]);
  if (request.states && reader->info().state_names.empty())
    throw CheckpointError(reader->folder() + " holds no optimizer states; leave --states out");
  const std::string group = group_of(request, *reader);
  if (format == Format::kCtranslate2) return export_ctranslate2(request, *reader, {group, type});
  io::OutputFile file(request.output,
                      request.force ? io::Existing::kReplace : io::Existing::kRefuse);
  require_sound(*reader);
  const auto tensors = chosen(*reader, format, request.states);
  TensorFeed feed(*reader, type, group);
  if (format == Format::kNpz)
    write_npz(file, feed, tensors);
  else
    write_safetensors(file, feed, tensors, metadata_of(reader->info(), request.states));
  file.commit();
  warn_of_overflows(request, feed.overflowed());
  const Json json = {{"output", request.output},
                     {"checkpoint", reader->folder()},
                     {"format", format == Format::kNpz ? "npz" : "safetensors"},
                     {"dtype", request.dtype},
                     {"tensors", tensors.size()},
                     {"bytes", file.size()},
                     {"overflowed", feed.overflowed()}};
  answer(request,
         request.output + ": " + std::to_string(tensors.size()) + " tensors of " +
             reader->folder() + ", parameters as " + request.dtype + ", " +
             std::to_string(file.size()) + " bytes",
         json_text(json));
  return 0;
}

}  // namespace th::app
