#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/decoders/batch_decoder.hpp"
#include "th/config/run_config.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/zero/resident_source.hpp"
#include "th/zero/sharded_source.hpp"

namespace th::app {

/// Which of a checkpoint's parameters are taken, and in what numbers.
struct ParameterChoice {
  std::optional<std::string> parameters;  ///< trained or ema; empty: decode.parameters of the deck
  std::optional<ElementType> dtype;       ///< empty: precision.dtype of the deck
  bool int8 = false;                      ///< products in int8, of fp32 parameters
};

/// A trained model with its vocabularies and its parameters: all of them on one rank, or sharded
/// over the ranks of a launch.
class LoadedModel {
 public:
  /// Reads what there is beside the parameters. Throws CheckpointError.
  explicit LoadedModel(const std::string& checkpoint);

  /// Makes a model for sentences of `longest` ids, without parameters. Throws CheckpointError where
  /// those are not there.
  void open(std::int64_t longest, const ParameterChoice& choice);
  /// Reads all parameters. Throws CheckpointError.
  void load();
  /// Whether a node's ranks could not hold all of them each. Collective.
  [[nodiscard]] bool is_too_large(runtime::Collectives& collectives) const;
  /// Reads them in shards, in place of load(). Throws CheckpointError on every rank. Collective.
  void load_sharded(runtime::Collectives& collectives);
  /// Makes place for sentences of so many ids, begin and end not counted.
  void make_room(std::int64_t longest);

  [[nodiscard]] const std::string& folder() const noexcept { return reader_.folder(); }
  [[nodiscard]] const config::RunConfig& config() const noexcept { return config_; }
  [[nodiscard]] const data::TokenizerPair& tokenizers() const noexcept { return tokenizers_; }
  /// Positions that the model learned; 0: it goes on beyond those of its training.
  [[nodiscard]] std::int64_t learned() const;
  /// Why the model can't write `longest` ids; empty where it can.
  [[nodiscard]] std::string too_long(std::int64_t longest) const;
  [[nodiscard]] model::Transformer& model() noexcept { return *model_; }
  /// After load().
  [[nodiscard]] model::ParameterSource& parameters() noexcept { return *parameters_; }
  /// After load_sharded().
  [[nodiscard]] zero::DecodingSource& sharded() noexcept { return *sharded_; }
  /// Of the parameters that were loaded, the deck and the tokenizers: what translations depend on.
  /// Where they are sharded rank 0 knows it.
  [[nodiscard]] std::string identity() const;
  /// What is said of it on standard error; rank 0 says it.
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

 private:
  [[nodiscard]] std::string group_of(const std::optional<std::string>& parameters) const;
  void make_model();
  /// The products of inference, by what parameters there are.
  void set_products();
  /// Source ids a target id of its training; 1 where it says nothing.
  [[nodiscard]] double read_ratio();

  io::CheckpointReader reader_;
  config::RunConfig config_;
  data::TokenizerPair tokenizers_;
  std::vector<std::string> notes_;
  double source_per_target_ = 1;
  std::int64_t rows_ = 0;  ///< of the tables of positions
  std::uint32_t crc_ = 0;  ///< of the parameters in fp32
  bool int8_ = false;
  std::optional<model::Transformer> model_;
  std::string group_;  ///< of the checkpoint, that holds the parameters
  std::optional<zero::ResidentSource> parameters_;
  std::unique_ptr<zero::ShardedSource> sharded_;
};

/// Decodes with one model.
class ResidentDecoder final : public BatchDecoder {
 public:
  /// `model` is loaded, and used as long as this lives.
  explicit ResidentDecoder(LoadedModel& model) : model_(model) {}
  void make_room(std::int64_t longest) override { model_.make_room(longest); }
  [[nodiscard]] std::optional<std::vector<std::vector<model::Hypothesis>>> translate(
      const data::Batch& batch, const model::SearchOptions& options,
      std::span<const model::SentenceOptions> sentences, const Stop& stop) override;
  [[nodiscard]] std::optional<std::vector<double>> score(const data::Batch& batch,
                                                         const Stop& stop) override;

 private:
  LoadedModel& model_;
};

}  // namespace th::app
