#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"

namespace th::train {

/// A checkpoint's state of fp16's loss scale (loss_scale.hpp).
struct LossScaleState {
  double scale = 0;             ///< 0: the run has none
  std::int64_t good_steps = 0;  ///< since the last overflow or doubling
  /// Overflows until the scale is halved.
  std::int64_t hysteresis = config::PrecisionSection().loss_scale_hysteresis;
};

/// A run's validations so far (best_tracker.hpp).
struct BestState {
  /// A checkpoint that is among the best.
  struct Entry {
    std::int64_t step = 0;
    double value = 0;
    bool scheduled = false;  ///< it would have been saved in any case
  };
  std::string metric;           ///< by which validations are compared; empty: they are not compared
  std::string text;             ///< a hash of the validation text; empty: not known
  std::optional<double> value;  ///< the best so far
  std::int64_t step = 0;        ///< of that
  std::int64_t without_better = 0;  ///< validations since
  std::vector<Entry> kept;          ///< at most checkpoint.keep_best, best first
};

/// A run's position between two steps, which a checkpoint holds beside the tensors. It is one
/// position for all ranks.
struct RunState {
  std::int64_t step = 0;           ///< optimizer steps done
  std::int64_t epoch = 0;          ///< of the next step
  std::int64_t step_in_epoch = 0;  ///< of the next step
  double epoch_loss_sum = 0;       ///< over the epoch's steps so far
  std::int64_t epoch_tokens = 0;
  /// The run stopped before the end of the validation after `step`. If the epoch ended with that
  /// step, step_in_epoch is the epoch's length.
  bool validation_due = false;
  double epoch_seconds = 0;
  std::int64_t micro_batches = 0;  ///< slots of a step, resolved at step 0
  std::int64_t skipped_steps = 0;  ///< steps of `step` that overflowed in fp16 and updated nothing
  LossScaleState loss_scale;       ///< only for fp16; otherwise scale 0
  double probe_loss = 0;           ///< of the probe batch with the saved parameters
  std::string identity;            ///< of the run that wrote it (contract: "A run's identity")
  /// Why the parameters are not those of the run ("an average of …"), so that probe_loss does not
  /// belong to them; usually empty.
  std::string altered;
  /// Empty while the run goes on; kTrained before the test set is translated; kCompleted at the
  /// end.
  std::string exit;
  std::string probe;  ///< a hash of the probe batch; empty in older checkpoints
  /// A hash of the training files; empty in older checkpoints and without files.
  std::string corpus;
  /// Source ids for each target id, by which local cross attention is centred; 0: the model has no
  /// such attention.
  double source_per_target = 0;
  /// The run's id, made at step 0 and unchanged by resumes; empty in older checkpoints.
  std::string run;
  std::string parent;  ///< id of the run that it branched from or took its parameters from
  BestState best;
  std::optional<BestState> best_at_end;  ///< with the extra validation of an end
  static constexpr const char *kTrained = "trained", *kCompleted = "completed";
};

[[nodiscard]] std::string to_json(const RunState& state);
/// Throws CheckpointError if the text is no run state.
[[nodiscard]] RunState run_state_from_json(const std::string& text);

}  // namespace th::train
