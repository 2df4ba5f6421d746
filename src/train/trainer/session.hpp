#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "th/base/log.hpp"
#include "th/config/deck.hpp"
#include "th/data/batch.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/observe/watchdog.hpp"
#include "th/runtime/transport/watched_collectives.hpp"
#include "th/train/audit/audit.hpp"
#include "th/train/best_tracker.hpp"
#include "th/train/checkpointing.hpp"
#include "th/train/output_folder.hpp"
#include "th/train/run_device.hpp"
#include "th/train/run_state.hpp"
#include "th/train/sharded_decoding.hpp"
#include "th/train/training_data.hpp"
#include "th/train/validation.hpp"
#include "th/train/watch/memory_watch.hpp"
#include "th/train/watch/stop_requests.hpp"
#include "th/train/watch/verdict.hpp"
#include "th/zero/engine/engine.hpp"

namespace th::train {

/// What a run was started with.
struct RunContext {
  RunContext(const config::LoadedDeck& given_deck, const RunDevice& run_device,
             runtime::WatchedCollectives& transport, runtime::Watchdog& its_watchdog, Log& its_log)
      : deck(given_deck),
        config(deck.config),
        device(run_device),
        collectives(transport),
        watchdog(its_watchdog),
        log(its_log),
        checkpoints(config.run.output_dir + "/checkpoints") {}
  RunContext(const RunContext&) = delete;
  RunContext& operator=(const RunContext&) = delete;

  [[nodiscard]] bool is_root() const { return collectives.rank() == 0; }
  [[nodiscard]] bool scales_loss() const { return config.precision.dtype == ElementType::kFp16; }
  /// Whether checkpoints are saved as steps or epochs go by.
  [[nodiscard]] bool saves() const {
    return config.checkpoint.every_epochs > 0 || config.checkpoint.every_steps > 0;
  }

  config::LoadedDeck deck;
  config::RunConfig& config;  ///< the deck's
  const RunDevice& device;
  runtime::WatchedCollectives& collectives;
  runtime::Watchdog& watchdog;
  Log& log;
  std::string checkpoints;  ///< folder
  std::string identity;     ///< what the bits depend on beside the deck
};

/// What this process trained, for rates and the summary.
struct Totals {
  std::int64_t timed_tokens = 0, real_tokens = 0, padded_tokens = 0, score_cells = 0,
               padded_score_cells = 0, steps = 0;
  double timed_seconds = 0, seconds = 0;
  /// The part of the positions in the batches that is padding.
  [[nodiscard]] double padding() const;
};

/// The batch whose loss proves a resume.
struct Probe {
  data::Batch batch;  ///< empty without a corpus
  std::string hash;   ///< of its ids
};

/// The checkpoint that a run goes on from.
struct Resumed {
  std::unique_ptr<io::CheckpointReader> reader;  ///< null: the run begins
  std::vector<std::string> damaged;              ///< checkpoints that were passed over, bare names
  bool other_precision = false;                  ///< it was written with another precision.dtype
  std::int64_t saved_step = -1;  ///< the step that need not be saved again; -1: none
};

/// What asks the run to stop.
struct Stopping {
  StopRequests requests;
  std::string why;  ///< empty: it does not stop
};

/// A run's parts, as RunSetup puts them together, and where it stands.
struct Session {
  Session(const config::LoadedDeck& deck, const RunDevice& device,
          runtime::WatchedCollectives& collectives, runtime::Watchdog& watchdog, Log& log);

  [[nodiscard]] bool finished() const;
  /// Resumed from a checkpoint after which the test set alone was to be translated.
  [[nodiscard]] bool trained_before() const {
    return finished() && state.exit == RunState::kTrained;
  }
  /// Whether train.valid_every_steps asks for a validation after this step.
  [[nodiscard]] bool validates_now() const;
  /// Whether a rank has to stop; what asked for it is in stopping.why. Collective.
  [[nodiscard]] bool stop_asked();
  /// The loss of the probe batch; 0 without one. Collective.
  [[nodiscard]] double probe_loss();
  [[nodiscard]] io::CheckpointInfo checkpoint_info(const RunState& of) const;
  /// For validation and decoding.
  [[nodiscard]] RunParts parts();

  RunContext run;
  OutputFolder output;  ///< rank 0's
  RunState state;
  Totals totals;
  BestTracker tracker;
  Stopping stopping;
  RunFacts facts;
  Resumed resumed;
  TrainingData data;
  Probe probe;
  std::int64_t total_steps = 0;  ///< of the schedule
  ShardedChoice decoding;
  std::int64_t rss_before_model = 0;
  std::unique_ptr<model::Transformer> model;
  std::unique_ptr<zero::ZeroEngine> engine;
  std::shared_ptr<void> engine_watch;  ///< ends before the engine does
  std::unique_ptr<MemoryWatch> memory;
  std::unique_ptr<Audit> audit;
  std::unique_ptr<CheckpointSaver> saver;
  std::unique_ptr<Validator> validator;  ///< null: there is no validation text
};

}  // namespace th::train
