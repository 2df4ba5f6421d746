#include "app/inspect/inspect_commands.hpp"
#include "app/inspect/numbers.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "th/base/base64.hpp"
#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/base/json_text.hpp"
#include "th/config/deck.hpp"
#include "th/config/state_names.hpp"
#include "th/data/text.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"
#include "th/io/checkpoint/checkpoint_build.hpp"
#include "th/io/checkpoint/compare.hpp"
#include "th/io/formats/safetensors.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/train/run_state.hpp"

// import: a safetensors file with the model's own names becomes a checkpoint. What the file does
// not say (deck, vocabularies) comes from options or from another checkpoint; names and shapes are
// those that the deck's model has.
namespace th::app {
namespace {

using Json = nlohmann::json;

std::string metadata(const io::SafetensorsReader& file, const std::string& key) {
  const auto it = file.metadata().find(key);
  return it == file.metadata().end() ? "" : it->second;
}

std::vector<std::string> string_list(const io::SafetensorsReader& file, const std::string& key) {
  const std::string text = metadata(file, key);
  if (text.empty()) return {};
  try {
    return parse_json(text).get<std::vector<std::string>>();
  } catch (const Json::exception& error) {
    throw CheckpointError(file.path() + ": " + key +
                          " of its metadata can't be read: " + error.what());
  }
}

std::int64_t integer(const io::SafetensorsReader& file, const std::string& key) {
  const std::string text = metadata(file, key);
  if (text.empty()) return 0;
  if (text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos) {
    throw CheckpointError(file.path() + ": " + key + " of its metadata is '" + text +
                          "', no number");
  }
  return std::stoll(text);
}

std::vector<std::string> vocabulary(const std::string& path, const io::SafetensorsReader& file,
                                    const std::string& key) {
  return path.empty() ? string_list(file, key) : data::read_text(path).lines;
}

/// A tokenizer's model in the file's metadata; none where a list of words takes its place.
std::string tokenizer_model(const std::string& words, const io::SafetensorsReader& file,
                            const std::string& key) {
  if (!words.empty()) return "";
  const auto bytes = base64_bytes(metadata(file, key));
  if (!bytes)
    throw CheckpointError(file.path() + ": " + key + " of its metadata is no base64 text");
  return *bytes;
}

/// Vocabularies and tokenizers' models of the options, else of the file.
void read_vocabularies(io::CheckpointInfo& info, const InspectRequest& request,
                       const io::SafetensorsReader& file) {
  const std::string &source = request.vocabulary_source, &target = request.vocabulary_target;
  info.source_tokens = vocabulary(source, file, "vocabulary_source");
  info.target_tokens = vocabulary(target, file, "vocabulary_target");
  info.source_model = tokenizer_model(source, file, "tokenizer_source");
  info.target_model = tokenizer_model(target, file, "tokenizer_target");
}

/// Throws DataError where tokens and model of a side are not sound.
void require_tokenizers(const io::CheckpointInfo& info, config::TokenizerKind kind,
                        const std::string& where) {
  for (const auto& [tokens, model] : {std::pair(&info.source_tokens, &info.source_model),
                                      std::pair(&info.target_tokens, &info.target_model)}) {
    if (kind != config::TokenizerKind::kWord && model->empty())
      throw DeckError(where + " has no model of its " + data::kind_name(kind) +
                      " tokenizer: give --like CHECKPOINT");
    (void)data::restore_tokenizer({*tokens, *model});
  }
}

/// Units, aliases and both vocabularies of the deck's model.
void add_model(io::CheckpointInfo& info, const config::RunConfig& config,
               const std::string& where) {
  const bool synthetic = config.data.synthetic != config::Synthetic::kNone;
  if (!synthetic && (info.source_tokens.empty() || info.target_tokens.empty())) {
    throw DeckError(where +
                    " has no vocabularies: give --vocabulary-source and --vocabulary-target, or "
                    "--like CHECKPOINT");
  }
  if (!synthetic) require_tokenizers(info, config.data.tokenizer, where);
  const auto count = [&](const std::vector<std::string>& tokens) {
    return synthetic ? config.data.vocab_size : std::ssize(tokens);
  };
  if (config::joint_vocabulary(config.model) && info.source_tokens != info.target_tokens) {
    throw DataError(
        "model.tie_embeddings needs one joint vocabulary: " +
        io::vocabulary_difference(info.source_tokens, "source", info.target_tokens, "target"));
  }
  auto parameters =
      model::parameter_units(config.model, count(info.source_tokens), count(info.target_tokens),
                             model::learned_positions(config));
  info.units = std::move(parameters.units);
  info.aliases = std::move(parameters.aliases);
}

/// Everything of the new checkpoint but tensors and states' names.
io::CheckpointInfo describe(const InspectRequest& request, const io::SafetensorsReader& file) {
  io::CheckpointInfo info;
  double source_per_target = 0;
  if (!request.like.empty()) {
    if (!request.deck.empty() || !request.vocabulary_source.empty() ||
        !request.vocabulary_target.empty()) {
      throw DeckError("--like brings deck and vocabularies; leave --deck and --vocabulary-… out");
    }
    info = open_checkpoint(request.like)->info();
    source_per_target = train::run_state_from_json(info.state_json).source_per_target;
    info.step = info.epoch = 0;
    info.state_names.clear();
    info.short_states.clear();
    info.state_json.clear();
  } else if (!request.deck.empty()) {
    const config::LoadedDeck deck = config::load_deck(request.deck, {});
    info.deck = config::resolved_text(deck);
    read_vocabularies(info, request, file);
    add_model(info, deck.config, file.path());
  } else {
    info.deck = metadata(file, "deck");
    if (info.deck.empty())
      throw DeckError(file.path() +
                      " says nothing of its model: give --like CHECKPOINT, or --deck DECK and its "
                      "vocabularies");
    read_vocabularies(info, request, file);
    try {
      add_model(info,
                config::load_deck_text(info.deck, file.path() + " (its deck)", "/", {}).config,
                file.path());
    } catch (const DeckError& error) {
      throw CheckpointError(error.what());
    }
  }
  info.zero_stage = integer(file, "zero_stage");
  info.build = "th_inspect import, " + build_line();
  train::RunState state;
  if (const std::string text = metadata(file, "state"); !text.empty()) {
    state = train::run_state_from_json(text);
    info.step = integer(file, "step");
    info.epoch = integer(file, "epoch");
  }
  // The file's own comes first: its model was trained with it.
  if (state.source_per_target == 0) state.source_per_target = source_per_target;
  info.identity = state.identity;
  state.altered = "imported from " + file.path();
  info.state_json = train::to_json(state);
  return info;
}

/// The run of a checkpoint's deck.
config::RunConfig config_of(const io::CheckpointInfo& info, const std::string& where) {
  try {
    return config::load_deck_text(info.deck, where, "/", {}).config;
  } catch (const DeckError& error) {
    throw CheckpointError(error.what());
  }
}

std::string joined(std::span<const std::string> names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : " and ") + name;
  return out;
}

/// Which tensor of the file each tensor of the checkpoint comes from.
class Mapping {
 public:
  Mapping(const io::SafetensorsReader& file, io::CheckpointInfo& info) : file_(file) {
    std::vector<std::string> kinds = {"parameters"};
    const config::RunConfig config = config_of(info, file.path() + " (its deck)");
    const std::vector<const char*> states = config::state_names(config);
    for (const char* state : states) {
      const std::string prefix = std::string(state) + "/";
      const auto first = file.tensors().lower_bound(prefix);
      if (first == file.tensors().end() || first->first.rfind(prefix, 0) != 0) continue;
      kinds.emplace_back(state);
      info.state_names.emplace_back(state);
    }
    for (const auto& kind : kinds) {
      for (const auto& unit : info.units) {
        for (const auto& tensor : unit.tensors) place(kind, tensor, info.aliases);
      }
    }
    for (const auto& [name, entry] : file.tensors()) {
      if (!used_.contains(name))
        problems_ += "\n  " + name + ": " + io::shape_to_text(entry.shape) +
                     " in the file, not in the model";
    }
    if (!problems_.empty())
      throw CheckpointError(file.path() + " is of another model than its deck says:" + problems_);
    if (kinds.size() > 1 && info.state_names.size() < states.size()) {
      const std::vector<std::string> all(states.begin(), states.end());
      throw CheckpointError(file.path() + " has states of " + joined(info.state_names) +
                            " alone; " + runtime::optimizer_name(config.optimizer.name) + " has " +
                            joined(all));
    }
    if (kinds.size() > 1 && metadata(file, "state").empty()) {
      throw CheckpointError(file.path() +
                            " has optimizer states but does not say after which step: leave them "
                            "out, or use a file of th_inspect export --states");
    }
  }

  void read(const std::string& kind, const std::string& tensor, std::int64_t begin,
            std::span<float> out) const {
    file_.read(from_.at({kind, tensor}), begin, out);
  }

 private:
  void place(const std::string& kind, const model::TensorSpec& tensor,
             const std::vector<model::TensorAlias>& aliases) {
    const std::string prefix = kind == "parameters" ? "" : kind + "/";
    std::vector<std::string> names = {tensor.name};
    for (const auto& alias : aliases) {
      if (alias.tensor == tensor.name) names.push_back(alias.alias);
    }
    std::string main;
    for (const auto& name : names) {
      const auto it = file_.tensors().find(prefix + name);
      if (it == file_.tensors().end()) continue;
      used_.insert(it->first);
      if (it->second.shape != tensor.shape) {
        problems_ += "\n  " + it->first + ": " + io::shape_to_text(it->second.shape) +
                     " in the file, " + io::shape_to_text(tensor.shape) + " in the model";
      } else if (!main.empty() && !equal(main, it->first, tensor.count())) {
        problems_ +=
            "\n  " + it->first + ": other values than " + main + ", with which the model ties it";
      }
      if (main.empty()) main = it->first;
    }
    if (main.empty())
      problems_ += "\n  " + prefix + tensor.name + ": " + io::shape_to_text(tensor.shape) +
                   " in the model, not in the file";
    from_[{kind, tensor.name}] = main;
  }

  [[nodiscard]] bool equal(const std::string& a, const std::string& b, std::int64_t count) const {
    if (file_.tensors().at(a).shape != file_.tensors().at(b).shape) return true;  // named already
    std::vector<float> left, right;
    for (std::int64_t begin = 0; begin < count; begin += kPieceElements) {
      left.resize(static_cast<std::size_t>(std::min(count - begin, kPieceElements)));
      right.resize(left.size());
      file_.read(a, begin, left);
      file_.read(b, begin, right);
      if (std::memcmp(left.data(), right.data(), left.size() * sizeof(float)) != 0) return false;
    }
    return true;
  }

  const io::SafetensorsReader& file_;
  std::map<std::pair<std::string, std::string>, std::string> from_;
  std::set<std::string> used_;
  std::string problems_;
};

}  // namespace

int inspect_import(const InspectRequest& request) {
  if (request.output.empty()) throw DeckError("import needs --output FOLDER");
  if (!request.from.empty()) return import_foreign(request);
  const io::SafetensorsReader file(request.words[0]);
  io::CheckpointInfo info = describe(request, file);
  const Mapping mapping(file, info);
  if (!info.has_state(config::kAverageName)) info.deck = deck_without_average(info.deck);
  io::build_checkpoint(request.output,
                       request.force ? io::Existing::kReplace : io::Existing::kRefuse, info,
                       [&](const std::string& kind, const std::string& tensor, std::int64_t begin,
                           std::span<float> out) { mapping.read(kind, tensor, begin, out); });
  const Json json = {{"output", request.output},
                     {"input", file.path()},
                     {"tensors", file.tensors().size()},
                     {"step", info.step},
                     {"states", info.state_names}};
  answer(
      request,
      request.output + ": " + std::to_string(file.tensors().size()) + " tensors of " + file.path() +
          (info.state_names.empty() ? ", parameters alone"
                                    : ", with optimizer states, step " + std::to_string(info.step)),
      json_text(json));
  return 0;
}

}  // namespace th::app
