#pragma once

#include <cstdint>
#include <memory>

#include "th/config/run_config.hpp"
#include "th/data/dataset.hpp"
#include "th/data/loader.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/transport/control_calls.hpp"
#include "th/runtime/transport/mpi.hpp"
#include "th/zero/engine/engine.hpp"

namespace th::train {

/// The indexed text (or random ids) of a run, and the source of this rank's batches.
struct TrainingData {
  data::Dataset dataset;  ///< empty for data.synthetic
  std::shared_ptr<data::StepSource> source;
  std::int64_t source_vocabulary = 0, target_vocabulary = 0;
  std::int64_t longest = 0;  ///< ids that a sentence can have: rows of the position table
  /// TransformerSpec::source_per_target for local cross attention: the ratio of source ids (with
  /// the end) to decoder inputs over all training sentences, a multiple of 2^-20. 1 for synthetic
  /// ids.
  double source_per_target = 1;
};

/// Opens the data for `slots` micro-batches a step, once a node; its ranks share it. Tokenizers are
/// those of `resumed`, the checkpoint from which the run goes on, or as the deck says if it is
/// null. Throws the same error on every rank. Collective.
[[nodiscard]] TrainingData open_training_data(const config::RunConfig& config, std::int64_t slots,
                                              runtime::ControlCalls& control,
                                              const runtime::Communicator& node,
                                              const io::CheckpointReader* resumed = nullptr);
/// The same for a single process, as rank 0 of `ranks`. Not collective.
[[nodiscard]] TrainingData open_training_data(const config::RunConfig& config, std::int64_t slots,
                                              std::int64_t ranks,
                                              const io::CheckpointReader* resumed = nullptr);

/// The number of steps after which cosine, warmup_linear and wsd reach their end:
/// schedule.total_steps, or the steps of all train.epochs. 0 for the other schedules, which have no
/// end. Of more than a thousand epochs with data.batch_tokens the first thousand are counted, and
/// of a corpus that is planned in pieces the first epoch.
[[nodiscard]] std::int64_t schedule_steps(const config::RunConfig& config,
                                          const data::StepSource& source);
/// TrainingData::longest for a deck.
[[nodiscard]] std::int64_t position_rows(const config::RunConfig& config);
/// Throws DeckError if the schedule does not fit into `steps`, the result of schedule_steps().
void require_schedule_fits(const config::RunConfig& config, std::int64_t steps);

/// The key by which a step's dropout is drawn, with steps counted from 0, and the factor of its
/// gradients.
[[nodiscard]] std::uint64_t dropout_key(const config::RunConfig& config, std::int64_t step);
[[nodiscard]] inline double gradient_scale(const data::StepBatches& batches,
                                           const zero::StepRequest& request) {
  return request.loss_scale / static_cast<double>(batches.target_tokens);
}
/// Computes the rounds of a step that has begun; the step's end is left to the caller. Collective.
void accumulate_rounds(const config::RunConfig& config, model::Transformer& model,
                       zero::ZeroEngine& engine, const data::StepBatches& batches,
                       std::int64_t step, const zero::StepRequest& request);

/// Enqueues one optimizer step: forward and backward passes of every round's micro-batches,
/// reduction and update; engine.result() has its result. `step` counts from 0 and decides the draws
/// of dropout; the optimizer's own count is in `request`. Collective.
void enqueue_step(const config::RunConfig& config, model::Transformer& model,
                  zero::ZeroEngine& engine, const data::StepBatches& batches, std::int64_t step,
                  const zero::StepRequest& request);
/// The same, and waits for its result.
[[nodiscard]] zero::StepResult run_step(const config::RunConfig& config, model::Transformer& model,
                                        zero::ZeroEngine& engine, const data::StepBatches& batches,
                                        std::int64_t step, const zero::StepRequest& request);

}  // namespace th::train
