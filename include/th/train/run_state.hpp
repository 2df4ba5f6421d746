#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"

namespace th::train {

/// What a checkpoint keeps of fp16's loss scale (loss_scale.hpp).
struct LossScaleState {
  double scale = 0;             ///< 0: the run has none
  std::int64_t good_steps = 0;  ///< since the last overflow or doubling
  /// Overflows until the scale is halved.
  std::int64_t hysteresis = config::PrecisionSection().loss_scale_hysteresis;
};

/// What a run knows of its validations so far (best_tracker.hpp).
struct BestState {
  /// A checkpoint that is among the best.
  struct Entry {
    std::int64_t step = 0;
    double value = 0;
    bool scheduled = false;  ///< it would have been saved anyhow
  };
  std::string metric;               ///< by which they are compared; empty: they are not
  std::string text;                 ///< a hash of the validation text; empty: not known
  std::optional<double> value;      ///< the best so far
  std::int64_t step = 0;            ///< of that
  std::int64_t without_better = 0;  ///< validations since
  std::vector<Entry> kept;          ///< at most checkpoint.keep_best, best first
};

/// Where a run stands between two steps: what a checkpoint holds beside the tensors. One position
/// for all ranks, never per rank.
struct RunState {
  std::int64_t step = 0;           ///< optimizer steps done
  std::int64_t epoch = 0;          ///< of the next step
  std::int64_t step_in_epoch = 0;  ///< of the next step
  double epoch_loss_sum = 0;       ///< over the epoch's steps so far
  std::int64_t epoch_tokens = 0;
  /// A stop came before the end of the validation after `step`; where the epoch ended with it,
  /// step_in_epoch is the epoch's length.
  bool validation_due = false;
  double epoch_seconds = 0;
  std::int64_t micro_batches = 0;  ///< slots of a step, resolved at step 0
  std::int64_t skipped_steps = 0;  ///< of `step`: those that overflowed in fp16 and updated nothing
  LossScaleState loss_scale;       ///< fp16 alone; else scale 0
  double probe_loss = 0;           ///< of the probe batch with the saved parameters
  std::string identity;            ///< of the run that wrote it (contract: "A run's identity")
  /// Empty, or how the parameters came to be others than the run's ("an average of …"): probe_loss
  /// is not theirs.
  std::string altered;
  /// Empty while the run goes on, kTrained where the test set was to be translated next,
  /// kCompleted.
  std::string exit;
  std::string probe;  ///< a hash of the probe batch; empty in checkpoints of before
  /// A hash of the training files; empty in checkpoints of before and without files.
  std::string corpus;
  /// Source ids a target id, at which local cross attention is centred; 0: the model has none.
  double source_per_target = 0;
  /// The run's id, made at step 0 and kept on resume; empty in checkpoints of before.
  std::string run;
  std::string parent;  ///< id of the run that it branched from or took its parameters from
  BestState best;
  std::optional<BestState> best_at_end;  ///< with the validation of an end beside the others
  static constexpr const char *kTrained = "trained", *kCompleted = "completed";
};

[[nodiscard]] std::string to_json(const RunState& state);
/// Throws CheckpointError where the text is not a run state.
[[nodiscard]] RunState run_state_from_json(const std::string& text);

}  // namespace th::train
