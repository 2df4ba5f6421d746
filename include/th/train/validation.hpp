#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "th/base/log.hpp"
#include "th/config/run_config.hpp"
#include "th/data/corpus.hpp"
#include "th/runtime/observe/watchdog.hpp"
#include "th/train/evaluation.hpp"
#include "th/train/run_device.hpp"
#include "th/train/training_data.hpp"
#include "th/train/watch/memory_watch.hpp"

namespace th::train {

/// What a run decodes with, all of it the run's.
struct RunParts {
  const config::RunConfig& config;
  const TrainingData& data;
  const RunDevice& device;
  model::Transformer& model;
  zero::ZeroEngine& engine;
  runtime::Collectives& collectives;
  runtime::Watchdog& watchdog;
  MemoryWatch& memory;
  Log& log;
  StopCheck stop;
  config::Sharded sharded;  ///< on or off: how stage 3 decodes
  std::int64_t together;    ///< CorpusDecoding
};

/// A number as logs, records and curves have it.
struct Score {
  std::string metric;  ///< "bleu", "rouge1", …: of records and curves
  std::string label;   ///< "BLEU", "chrF2++": of the log
  double value = 0;
  std::string signature;  ///< how it was counted; empty: there is one way
  std::string note;       ///< what a reader must know of this value; mostly empty
};

/// BLEU, chrF, ROUGE and exact lines (a share) of hypotheses and references, which of them
/// `metrics` names, in its order, as valid.* asks for them. Not collective.
[[nodiscard]] std::vector<Score> text_scores(std::span<const std::string> hypotheses,
                                             std::span<const std::string> references,
                                             const config::ValidSection& valid,
                                             const std::vector<config::Metric>& metrics);
/// "BLEU = 12.34 (…), chrF2 = 45.60, exact = 0.0120".
[[nodiscard]] std::string log_text(const std::vector<Score>& scores);

/// The translations of some sentences of a corpus by the run's parameters (decode.parameters), at
/// their places in a list of the corpus's size, on every rank, the same at every rank count; a GPU
/// run decodes on its host. Where the run summarizes documents above the window chunk by chunk
/// (th/data/summary/hierarchical.hpp), they are taken as their lines have them, not cut. Empty
/// where run.stop ended it. Collective.
[[nodiscard]] std::optional<std::vector<std::string>> translate_sentences(
    const RunParts& run, const data::ParallelCorpus& corpus,
    std::span<const std::int64_t> sentences);

/// Throws DeckError where valid.script is set and is no program that can be run. Not collective.
void require_script(const config::RunConfig& config);

/// The sentences that validation translates, of so many: all, the first valid.max_lines, samples
/// alone, none.
[[nodiscard]] std::vector<std::int64_t> translated_in_validation(const config::RunConfig& config,
                                                                 std::int64_t sentences);

/// What one validation found.
struct Validation {
  double loss = 0;             ///< on every rank, as what follows but for the two lists
  std::optional<double> best;  ///< of valid.best_metric; empty: there is none this time
  std::vector<Score> scores;   ///< rank 0's: all but the loss
  struct Sample {
    std::string source, reference, hypothesis;
  };
  std::vector<Sample> samples;  ///< rank 0's
};

/// The metrics of the run's validation text.
class Validator {
 public:
  /// Rank 0 reads the text. Throws DeckError on every rank where valid.script is no program that
  /// can be run. Collective.
  explicit Validator(const RunParts& run);
  /// Of the parameters as they are; empty where the run has to stop before its end. A script that
  /// gives no number is a warning. Collective.
  [[nodiscard]] std::optional<Validation> run(std::int64_t step);

 private:
  /// Rank 0's part of what follows the translation.
  void score(const std::vector<std::string>& hypotheses, Validation& result);
  [[nodiscard]] std::optional<double> run_script(const std::vector<std::string>& hypotheses,
                                                 const std::vector<std::string>& references) const;
  [[nodiscard]] std::string file(const char* end) const;

  RunParts run_;
  const data::ParallelCorpus& corpus_;
  std::vector<std::int64_t> translated_, samples_;
  bool scores_text_ = false;                       ///< not samples alone
  std::vector<std::string> sources_, references_;  ///< rank 0's, by sentence
};

}  // namespace th::train
