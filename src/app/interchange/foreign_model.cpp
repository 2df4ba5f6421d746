#include "app/interchange/foreign_model.hpp"

#include <algorithm>
#include <utility>

#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/config/deck.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"
#include "th/io/checkpoint/compare.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/train/run_state.hpp"

namespace th::app {
namespace {

Values joined(const std::vector<TensorMaker>& parts) {
  Values all;
  for (const TensorMaker& part : parts) {
    const Values values = part();
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

/// No text is known that the model was trained with: a deck that begins a run of it names its own.
constexpr const char* kNoText = "train_source = /dev/null\ntrain_target = /dev/null\n";

/// The deck of the checkpoint: the model's keys, and of `path`, where it is given, all others.
config::LoadedDeck deck_of(const ForeignModel& model, const std::string& path) {
  const auto kind = data::restore_tokenizer(model.source.tokenizer)->kind();
  const std::string tokenizer = data::kind_name(kind);
  if (!path.empty()) {
    std::vector<std::string> overrides;
    for (const auto& [key, value] : model.keys) overrides.push_back(key + "=" + value);
    overrides.push_back("data.tokenizer=" + tokenizer);
    return config::load_deck(path, overrides);
  }
  std::string text = "[model]\n";
  for (const auto& [key, value] : model.keys)
    text += key.substr(key.find('.') + 1) + " = " + value + "\n";
  text += "[data]\ntokenizer = " + tokenizer + "\n" + kNoText;
  return config::load_deck_text(text, model.path + " (its options)", "/", {});
}

std::int64_t count_of(const std::vector<std::string>& tokens) { return std::ssize(tokens); }

}  // namespace

void ForeignModel::add_linear(const std::string& name, const ForeignLinear& linear) {
  add(name + ".weight", linear.weight);
  add(name + ".bias", linear.bias);
}

void ForeignModel::add_norm(const std::string& name, const ForeignNorm& norm) {
  add(name + ".weight", norm.weight);
  add(name + ".bias", norm.bias);
}

void ForeignModel::add_attention(const std::string& name, const ForeignAttention& a) {
  add(name + ".in_proj_weight", [a] {
    return joined({a.query.weight, a.key.weight, a.value.weight});
  });
  add(name + ".in_proj_bias", [a] { return joined({a.query.bias, a.key.bias, a.value.bias}); });
  add_linear(name + ".out_proj", a.output);
}

void ForeignModel::add_table(const std::string& name, std::vector<std::int64_t> rows,
                             std::int64_t width, TensorMaker table) {
  add(name, [rows = std::move(rows), width, table = std::move(table)] {
    const Values theirs = table();
    Values ours(rows.size() * static_cast<std::size_t>(width), 0.0F);
    for (std::size_t row = 0; row < rows.size(); ++row)
      if (rows[row] >= 0)
        std::copy_n(theirs.begin() + rows[row] * width, width,
                    ours.begin() + static_cast<std::int64_t>(row) * width);
    return ours;
  });
}

void ForeignModel::add_output_bias(TensorMaker bias) {
  add("output_projection.bias", [rows = target.outputs, bias = std::move(bias)] {
    const Values theirs = bias ? bias() : Values();
    Values ours(rows.size(), kNoToken);
    for (std::size_t row = 0; row < rows.size(); ++row)
      if (rows[row] >= 0) ours[row] = bias ? theirs[static_cast<std::size_t>(rows[row])] : 0.0F;
    return ours;
  });
}

Values transposed(const Values& values, std::int64_t rows, std::int64_t columns) {
  ensure(std::ssize(values) == rows * columns, "transposed: a matrix of another size");
  Values out(values.size());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c)
      out[static_cast<std::size_t>(c * rows + r)] =
          values[static_cast<std::size_t>(r * columns + c)];
  return out;
}

io::CheckpointInfo describe(const ForeignModel& model, const std::string& deck) {
  const config::LoadedDeck loaded = deck_of(model, deck);
  io::CheckpointInfo info;
  info.deck = config::resolved_text(loaded);
  info.source_tokens = model.source.tokenizer.tokens;
  info.source_model = model.source.tokenizer.model;
  info.target_tokens = model.target.tokenizer.tokens;
  info.target_model = model.target.tokenizer.model;
  if (config::joint_vocabulary(loaded.config.model) && info.source_tokens != info.target_tokens)
    throw DataError(model.path + " shares the embeddings of both sides over one vocabulary: " +
                    io::vocabulary_difference(info.source_tokens, "the source", info.target_tokens,
                                              "the target"));
  auto parameters =
      model::parameter_units(loaded.config.model, count_of(info.source_tokens),
                             count_of(info.target_tokens), model::learned_positions(loaded.config));
  info.units = std::move(parameters.units);
  info.aliases = std::move(parameters.aliases);
  for (const auto& unit : info.units)
    for (const auto& tensor : unit.tensors)
      if (!model.tensors.contains(tensor.name))
        throw CheckpointError(model.path + " has nothing for " + tensor.name);
  info.build = "th_inspect import, " + build_line();
  train::RunState state;
  state.altered = "imported from " + model.path;
  info.state_json = train::to_json(state);
  return info;
}

ForeignTensors::ForeignTensors(const ForeignModel& model, const io::CheckpointInfo& info)
    : model_(model) {
  for (const auto& unit : info.units)
    for (const auto& tensor : unit.tensors) counts_[tensor.name] = tensor.count();
}

void ForeignTensors::read(const std::string& tensor, std::int64_t begin, std::span<float> out) {
  if (tensor != last_) {
    values_ = model_.tensors.at(tensor)();
    last_ = tensor;
    if (std::ssize(values_) != counts_.at(tensor))
      throw CheckpointError(model_.path + " has " + std::to_string(values_.size()) +
                            " numbers for " + tensor + ", which has " +
                            std::to_string(counts_.at(tensor)));
  }
  std::copy_n(values_.begin() + begin, out.size(), out.begin());
}

}  // namespace th::app
