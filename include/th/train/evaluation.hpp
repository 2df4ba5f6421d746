#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/batcher.hpp"
#include "th/data/corpus.hpp"
#include "th/data/summary/hierarchical.hpp"
#include "th/data/tokenizer/tokenizer.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/model/decoding/decoding.hpp"
#include "th/runtime/transport/control_calls.hpp"
#include "th/zero/engine/engine.hpp"
#include "th/zero/memory_plan.hpp"

namespace th::train {

/// This rank's share of a corpus in batches. Sentences are sorted by length and batch b goes to
/// rank b mod ranks, so the batches are the same at every rank count. The corpus outlives this
/// object.
class EvaluationBatches {
 public:
  EvaluationBatches(const data::ParallelCorpus& corpus, const config::DataSection& data,
                    std::int64_t rank, std::int64_t ranks);
  /// For some of its sentences.
  EvaluationBatches(const data::ParallelCorpus& corpus, const config::DataSection& data,
                    std::int64_t rank, std::int64_t ranks, std::span<const std::int64_t> sentences);
  /// For sources that are in no corpus; sentences are indexes of the list.
  EvaluationBatches(const data::Sources& sources, const config::DataSection& data,
                    std::int64_t rank, std::int64_t ranks);
  [[nodiscard]] const std::vector<data::EvalBatch>& all() const noexcept { return mine_; }
  [[nodiscard]] std::vector<zero::BatchShape> shapes() const;
  /// Bytes of the batches, as the memory ledger counts them.
  [[nodiscard]] std::int64_t bytes() const;
  [[nodiscard]] std::int64_t count() const noexcept { return count_; }  ///< batches of all ranks
  [[nodiscard]] std::int64_t sentences() const noexcept { return sentences_; }    ///< of the corpus
  [[nodiscard]] std::int64_t batch_size() const noexcept { return batch_size_; }  ///< at most
  /// The options of a batch's sentences: each has the number of its line in the corpus, or that of
  /// its list.
  [[nodiscard]] std::vector<model::SentenceOptions> options(const data::EvalBatch& batch) const;

 private:
  const data::ParallelCorpus* corpus_ = nullptr;  ///< null: numbers_ holds the sentences' numbers
  std::vector<std::uint64_t> numbers_;
  std::vector<data::EvalBatch> mine_;
  std::int64_t count_, sentences_, batch_size_;
};

/// Whether the run has to stop. All ranks ask it together now and then; an empty one never stops.
using StopCheck = std::function<bool()>;

/// Cross entropy per target token of a corpus, by natural logarithm, without dropout or smoothing.
/// Batches are dealt to the ranks, and the sums of sentences are added exactly
/// (base/exact_sum.hpp). So the value does not depend on the rank count nor, on the host, on the
/// batches. Nothing if `stop` ended it. Collective.
[[nodiscard]] std::optional<double> evaluate_loss(model::Transformer& model,
                                                  zero::ZeroEngine& engine,
                                                  runtime::ControlCalls& control,
                                                  const EvaluationBatches& batches,
                                                  const StopCheck& stop);

/// How a corpus is translated.
struct CorpusDecoding {
  const data::Tokenizer& target;
  model::SearchOptions options;
  StopCheck stop;
  config::Sharded sharded = config::Sharded::kOff;  ///< kOn: in lock step
  std::int64_t together = 0;  ///< sentences that a rank decodes at a time in lock step; 0: a batch
};

/// The best translation (model/decoding/decoding.hpp) of each source sentence of a corpus, in line
/// order, on every rank; "" for sentences that are in no batch. Batches are fixed and dealt to the
/// ranks, so the text depends neither on the rank count nor on whether the ranks have all
/// parameters or go in lock step (sharded_decoding.hpp). decoding.stop is asked between batches, in
/// lock step every few positions; if it ends the work, nothing is returned. Collective; a
/// NumericsError of any rank is thrown on all.
[[nodiscard]] std::optional<std::vector<std::string>> translate_corpus(
    model::Transformer& model, zero::ZeroEngine& engine, runtime::ControlCalls& control,
    const EvaluationBatches& batches, const CorpusDecoding& decoding);

/// Calls body() while the engine's parameters are those of decode.parameters. If it throws, the run
/// must end. Collective.
void with_decoding_parameters(const config::RunConfig& config, zero::ZeroEngine& engine,
                              const std::function<void()>& body);

}  // namespace th::train
