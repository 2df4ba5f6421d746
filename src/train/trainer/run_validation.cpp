#include "train/trainer/run_validation.hpp"

#include <chrono>
#include <utility>

namespace th::train {

using runtime::FlightRecord;

RunValidation::RunValidation(Session& session, RunReport& report, RunSaver& saver)
    : session_(session), state_(session.state), report_(report), saver_(saver) {
  if (session.trained_before()) validated_step_ = state_.step;
}

std::optional<Validation> RunValidation::validate() {
  const FlightRecord::HostScope event(*session_.engine->flight_record(),
                                      FlightRecord::What::kValidation);
  report_.clear_bar();
  const auto start = RunReport::Clock::now();
  std::optional<Validation> validation = session_.validator->run(state_.step);
  state_.validation_due = !validation;
  if (!validation) return std::nullopt;
  validated_step_ = state_.step;
  to_take_ = validation->best;
  validated_now_ = true;
  report_.time_use().validation += report_.phase("validation", start);
  return validation;
}

bool RunValidation::run() {
  if (!session_.validator) return true;
  const std::optional<Validation> validation = validate();
  if (!validation) return false;
  report_.validation(*validation);
  return true;
}

bool RunValidation::end_epoch() {
  const auto start = RunReport::Clock::now();
  const double loss = state_.epoch_loss_sum / static_cast<double>(state_.epoch_tokens);
  std::optional<Validation> validation;
  if (session_.validator) {
    validation = validate();
    if (!validation) return false;
  }
  const double seconds =
      state_.epoch_seconds + std::chrono::duration<double>(RunReport::Clock::now() - start).count();
  report_.epoch(loss, validation, seconds);
  ++state_.epoch;
  state_.step_in_epoch = 0;
  state_.epoch_loss_sum = 0;
  state_.epoch_tokens = 0;
  state_.epoch_seconds = 0;
  return true;
}

bool RunValidation::epoch_end_due() const {
  return state_.validation_due && state_.step_in_epoch == session_.data.source->steps(state_.epoch);
}

bool RunValidation::take(bool scheduled, bool in_turn) {
  BestTracker& tracker = session_.tracker;
  const std::optional<double> value = std::exchange(to_take_, std::nullopt);
  const bool validated = std::exchange(validated_now_, false);
  if (!validated || !tracker.active()) return false;
  if (!value) {
    tracker.pass();
    return false;
  }
  const BestTracker::Verdict verdict = tracker.observe({state_.step, *value, in_turn, scheduled});
  saver_.drop(verdict.dropped);
  report_.say("Step " + std::to_string(state_.step) + ": " + tracker.text() +
              (tracker.out_of_patience() ? "; valid.patience is over." : "."));
  return verdict.save;
}

}  // namespace th::train
