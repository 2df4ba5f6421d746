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

/// The parts of a run that decoding uses; they belong to the run.
struct RunParts {
  const config::RunConfig& config;
  const TrainingData& data;
  const RunDevice& device;
  model::Transformer& model;
  zero::ZeroEngine& engine;
  runtime::ControlCalls& control;
  runtime::Watchdog& watchdog;
  MemoryWatch& memory;
  Log& log;
  StopCheck stop;
  config::Sharded sharded;  ///< on or off: how stage 3 decodes
  std::int64_t together;    ///< as in CorpusDecoding
};

/// A score as logs, records and curves show it.
struct Score {
  std::string metric;  ///< "bleu", "rouge1", …: in records and curves
  std::string label;   ///< "BLEU", "chrF2++": in the log
  double value = 0;
  std::string signature;  ///< how it was counted; empty: there is only one way
  std::string note;       ///< what a reader must know of this value; mostly empty
};

/// Those of BLEU, chrF, ROUGE and exact lines (a share) that `metrics` names, in its order, for
/// hypotheses and references, with the options of valid.*. Not collective.
[[nodiscard]] std::vector<Score> text_scores(std::span<const std::string> hypotheses,
                                             std::span<const std::string> references,
                                             const config::ValidSection& valid,
                                             const std::vector<config::Metric>& metrics);
/// "BLEU = 12.34 (…), chrF2 = 45.60, exact = 0.0120".
[[nodiscard]] std::string log_text(const std::vector<Score>& scores);

/// Translates some sentences of a corpus with the run's parameters (decode.parameters). Returns a
/// list of the corpus's size with the translations at the sentences' indexes, on every rank, the
/// same at every rank count. A GPU run decodes on its host. If the run summarizes documents above
/// the window chunk by chunk (th/data/summary/hierarchical.hpp), it reads their whole lines.
/// Nothing if run.stop ended it. Collective.
[[nodiscard]] std::optional<std::vector<std::string>> translate_sentences(
    const RunParts& run, const data::ParallelCorpus& corpus,
    std::span<const std::int64_t> sentences);

/// Throws DeckError if valid.script is set and is no program that can be run. Not collective.
void require_script(const config::RunConfig& config);

/// Which of so many sentences validation translates: all, the first valid.max_lines, only the
/// samples, or none.
[[nodiscard]] std::vector<std::int64_t> translated_in_validation(const config::RunConfig& config,
                                                                 std::int64_t sentences);

/// What one validation found.
struct Validation {
  double loss = 0;             ///< on every rank, as `best`
  std::optional<double> best;  ///< value of valid.best_metric; empty: none this time
  std::vector<Score> scores;   ///< only on rank 0: all but the loss
  struct Sample {
    std::string source, reference, hypothesis;
  };
  std::vector<Sample> samples;  ///< only on rank 0
};

/// Computes the metrics of the run's validation text.
class Validator {
 public:
  /// Rank 0 reads the text. Throws DeckError on every rank if valid.script is no program that can
  /// be run. Collective.
  explicit Validator(const RunParts& run);
  /// Validates the parameters as they are; returns nothing if the run has to stop before the end. A
  /// script that gives no number is a warning. Collective.
  [[nodiscard]] std::optional<Validation> run(std::int64_t step);

 private:
  /// Rank 0's work after the translation.
  void score(const std::vector<std::string>& hypotheses, Validation& result);
  [[nodiscard]] std::optional<double> run_script(const std::vector<std::string>& hypotheses,
                                                 const std::vector<std::string>& references,
                                                 const std::vector<std::string>& sources) const;
  [[nodiscard]] std::string file(const char* end) const;

  RunParts run_;
  const data::ParallelCorpus& corpus_;
  std::vector<std::int64_t> translated_, samples_;
  bool scores_text_ = false;  ///< false: only samples are translated
};

}  // namespace th::train
