#pragma once

#include <cstdint>
#include <memory>

#include "th/config/run_config.hpp"
#include "th/data/dataset.hpp"
#include "th/data/loader.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/mpi.hpp"
#include "th/zero/engine/engine.hpp"

namespace th::train {

/// The text (or random ids) of a run, indexed, and what makes this rank's batches of it.
struct TrainingData {
  data::Dataset dataset;  ///< empty for data.synthetic
  std::shared_ptr<data::StepSource> source;
  std::int64_t source_vocabulary = 0, target_vocabulary = 0;
  std::int64_t longest = 0;  ///< ids that a sentence can have: rows of the position table
  /// TransformerSpec::source_per_target, where cross attention is local: of all training sentences,
  /// source ids (with the end) to decoder inputs, a multiple of 2^-20. 1 for synthetic ids.
  double source_per_target = 1;
};

/// Opens the data for `slots` micro-batches a step, once a node, shared by its ranks. Tokenizers
/// are those of `resumed`, the checkpoint that the run goes on from, where there is one, else as
/// the deck says. Throws the same error on every rank. Collective.
[[nodiscard]] TrainingData open_training_data(const config::RunConfig& config, std::int64_t slots,
                                              runtime::Collectives& collectives,
                                              const runtime::Communicator& node,
                                              const io::CheckpointReader* resumed = nullptr);
/// The same for one process alone, as rank 0 of `ranks`. Not collective.
[[nodiscard]] TrainingData open_training_data(const config::RunConfig& config, std::int64_t slots,
                                              std::int64_t ranks,
                                              const io::CheckpointReader* resumed = nullptr);

/// Whether the schedule ends, and with train.epochs: how many steps those are, the data say.
[[nodiscard]] bool ends_with_the_epochs(const config::RunConfig& config);
/// The steps that cosine, warmup_linear and wsd reach their end in: schedule.total_steps, or those
/// of all train.epochs; 0 for the other schedules, which have no end. Above a thousand epochs by
/// data.batch_tokens the first thousand stand for all, of a corpus that is laid out in pieces the
/// first.
[[nodiscard]] std::int64_t schedule_steps(const config::RunConfig& config,
                                          const data::StepSource& source);
/// TrainingData::longest of a deck.
[[nodiscard]] std::int64_t position_rows(const config::RunConfig& config);
/// Throws DeckError where the schedule does not fit into so many steps of schedule_steps().
void require_schedule_fits(const config::RunConfig& config, std::int64_t steps);

/// What a step's slots are computed with: the key that dropout is drawn by, of the step that counts
/// from 0, and what gradients are multiplied by.
[[nodiscard]] std::uint64_t dropout_key(const config::RunConfig& config, std::int64_t step);
[[nodiscard]] inline double gradient_scale(const data::StepBatches& batches,
                                           const zero::StepRequest& request) {
  return request.loss_scale / static_cast<double>(batches.target_tokens);
}
/// The rounds of a step that has begun, up to its end. Collective.
void accumulate_rounds(const config::RunConfig& config, model::Transformer& model,
                       zero::ZeroEngine& engine, const data::StepBatches& batches,
                       std::int64_t step, const zero::StepRequest& request);

/// One optimizer step: every round's micro-batches forward and backward, reduction, update;
/// engine.result() has its result. `step` counts from 0 and draws the dropout; the optimizer's own
/// count is in `request`. Collective.
void enqueue_step(const config::RunConfig& config, model::Transformer& model,
                  zero::ZeroEngine& engine, const data::StepBatches& batches, std::int64_t step,
                  const zero::StepRequest& request);
/// The same, and waits for its result.
[[nodiscard]] zero::StepResult run_step(const config::RunConfig& config, model::Transformer& model,
                                        zero::ZeroEngine& engine, const data::StepBatches& batches,
                                        std::int64_t step, const zero::StepRequest& request);

}  // namespace th::train
