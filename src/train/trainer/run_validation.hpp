#pragma once

#include <optional>

#include "train/trainer/run_report.hpp"
#include "train/trainer/run_saver.hpp"
#include "train/trainer/session.hpp"

namespace th::train {

/// The validations of a run, and what they mean for valid.patience and checkpoint.keep_best. The
/// results of all steps are read before. All calls are collective unless they say otherwise.
class RunValidation {
 public:
  RunValidation(Session& session, RunReport& report, RunSaver& saver);

  /// A validation between two steps. Whether it came to its end; else the state is as before it, as
  /// in end_epoch().
  [[nodiscard]] bool run();
  /// Ends the epoch, with a validation where there is a text.
  [[nodiscard]] bool end_epoch();
  /// A stop came in the validation at an epoch's end: the epoch's record is missing. Not
  /// collective, as what follows.
  [[nodiscard]] bool epoch_end_due() const;
  /// Whether this step was validated.
  [[nodiscard]] bool is_done() const noexcept { return validated_step_ == session_.state.step; }
  /// Takes the validation of this step, if there was one, for valid.patience and
  /// checkpoint.keep_best. `scheduled`: the step is saved anyhow; `in_turn`: not that of a run's
  /// end beside the others. Whether it is to be saved.
  [[nodiscard]] bool take(bool scheduled, bool in_turn);

 private:
  /// Empty where the run has to stop before its end.
  [[nodiscard]] std::optional<Validation> validate();

  Session& session_;
  RunState& state_;
  RunReport& report_;
  RunSaver& saver_;
  std::int64_t validated_step_ = -1;
  bool validated_now_ = false;     ///< until take()
  std::optional<double> to_take_;  ///< of this step's validation, until take()
};

}  // namespace th::train
