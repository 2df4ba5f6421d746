#include "app/decoders/loaded_model.hpp"

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/config/deck.hpp"
#include "th/config/state_names.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/io/checkpoint/given_tokenizers.hpp"
#include "th/io/checkpoint/shard_reader.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/model/parameters/stoppable_source.hpp"
#include "th/train/agreement.hpp"
#include "th/train/run_state.hpp"
#include "th/train/sharded_checkpoint.hpp"

#include <algorithm>
#include <filesystem>
#include <span>

namespace th::app {

namespace {

config::RunConfig deck_of(const io::CheckpointInfo& info, const std::string& checkpoint) {
  return config::load_deck_text(info.deck, checkpoint + " (its deck)", "/", {}).config;
}

}  // namespace

LoadedModel::LoadedModel(const std::string& checkpoint)
    : reader_(io::named_checkpoint(checkpoint)),
      config_(deck_of(reader_.info(), checkpoint)),
      tokenizers_(io::tokenizers_of(reader_)) {
  if (!std::filesystem::exists(checkpoint + "/model.h5"))
    notes_.push_back("parameters of " + reader_.folder());
  // What a backward pass would need is kept by alignment alone, and never computed again.
  config_.model.gradient_checkpointing = config::GradientCheckpointing::kNone;
  source_per_target_ = read_ratio();
}

double LoadedModel::read_ratio() {
  const double ratio = train::run_state_from_json(reader_.info().state_json).source_per_target;
  if (ratio > 0) return ratio;
  if (config::has_window(config_.model.cross_attention))
    notes_.push_back("warning: " + reader_.folder() +
                     " does not say how many source ids its training had a target id; local cross "
                     "attention goes by 1");
  return 1.0;
}

std::int64_t LoadedModel::learned() const { return model::learned_positions(config_); }

std::string LoadedModel::too_long(std::int64_t longest) const {
  if (learned() == 0 || longest < learned()) return "";
  return std::to_string(longest) + " ids needs " + std::to_string(longest + 1) +
         " positions with its begin symbol, and the model learned " + std::to_string(learned()) +
         " (data.max_length)";
}

std::string LoadedModel::group_of(const std::optional<std::string>& parameters) const {
  const bool average = parameters ? *parameters == config::kAverageName
                                  : config_.decode.parameters == config::DecodeParameters::kEma;
  if (!average) return "parameters";
  if (!reader_.info().has_state(config::kAverageName))
    throw CheckpointError(reader_.folder() +
                          " holds no moving average of the parameters; --parameters trained takes "
                          "the parameters themselves");
  return config::kAverageName;
}

void LoadedModel::make_model() {
  model_.emplace(model::TransformerSpec{config_.model, tokenizers_.source->size(),
                                        tokenizers_.target->size(), rows_, source_per_target_},
                 model::resolve_gemm(config_.run.gemm), model::Arithmetic::kCompute,
                 model::host_compute(config_.run));
  set_products();
}

void LoadedModel::set_products() {
  if (int8_) {
    model_->keep_parameters(model::KeptProducts::kInt8);
  } else if (parameters_) {
    model_->keep_parameters(model::KeptProducts::kOfType);
  }
}

void LoadedModel::open(std::int64_t longest, const ParameterChoice& choice) {
  if (choice.dtype) config_.precision.dtype = *choice.dtype;
  int8_ = choice.int8;
  rows_ = learned() > 0
              ? learned()
              : std::max({config_.data.max_length, config_.decode.max_length, longest}) + 2;
  group_ = group_of(choice.parameters);
  make_model();
}

void LoadedModel::load() {
  const zero::FlatLayout layout(model_->units(), 1);
  at::Tensor flat = model::zeros({layout.padded_total()}, at::TensorOptions().dtype(at::kFloat));
  const std::span<float> values(flat.data_ptr<float>(), static_cast<std::size_t>(flat.numel()));
  reader_.read_shard(layout, 0, group_, values);
  crc_ = crc32c(std::as_bytes(values));
  parameters_.emplace(layout, flat.to(model::scalar_type(config_.precision.dtype)));
  set_products();
}

bool LoadedModel::is_too_large(runtime::Collectives& collectives) const {
  return train::too_large_for_a_rank(*model_, config_.precision.dtype, collectives);
}

void LoadedModel::load_sharded(runtime::Collectives& collectives) {
  sharded_ = train::load_sharded(reader_, group_, config_, *model_, collectives);
  const auto read = [&] {
    if (collectives.rank() != 0) return;
    // As load() has it, through the largest unit.
    const zero::FlatLayout whole(model_->units(), 1);
    io::ShardReader all(reader_, whole, 0);
    std::vector<float> buffer(static_cast<std::size_t>(whole.largest_unit()));
    for (std::int64_t unit = 0; unit < std::ssize(whole.units()); ++unit) {
      const std::span<float> values = std::span(buffer).first(
          static_cast<std::size_t>(whole.units()[static_cast<std::size_t>(unit)].shard));
      all.read_unit(group_, unit, values);
      crc_ = crc32c(std::as_bytes(values), crc_);
    }
  };
  train::run_agreed(collectives.control(), read, "more ranks hold less each");
}

void LoadedModel::make_room(std::int64_t longest) {
  if (learned() > 0 || longest + 2 <= rows_) return;
  rows_ = std::max(2 * rows_, longest + 2);
  make_model();
}

std::string LoadedModel::identity() const {
  const io::CheckpointInfo& info = reader_.info();
  std::uint64_t hash = hash_pair(crc_, hash_text(info.deck));
  for (const std::string* bytes : {&info.source_model, &info.target_model})
    hash = hash_pair(hash, hash_text(*bytes));
  for (const auto* tokens : {&info.source_tokens, &info.target_tokens}) {
    for (const std::string& token : *tokens) hash = hash_pair(hash, hash_text(token));
  }
  return "step " + std::to_string(info.step) + ", hash " + std::to_string(hash);
}

std::optional<std::vector<std::vector<model::Hypothesis>>> ResidentDecoder::translate(
    const data::Batch& batch, const model::SearchOptions& options,
    std::span<const model::SentenceOptions> sentences, const Stop& stop) {
  model::StoppableSource source(model_.parameters(), stop);
  return model::unless_given_up(
      [&] { return model::translate(model_.model(), source, batch, options, sentences); });
}

std::optional<std::vector<double>> ResidentDecoder::score(const data::Batch& batch,
                                                          const Stop& stop) {
  model::StoppableSource source(model_.parameters(), stop);
  return model::unless_given_up(
      [&] { return model::score_targets(model_.model(), source, batch); });
}

}  // namespace th::app
