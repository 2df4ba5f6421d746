#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_build.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/train/agreement.hpp"
#include "th/train/lr_schedule.hpp"
#include "th/train/trainer.hpp"
#include "train/trainer/state_changes.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

// What a run takes from a checkpoint: where it goes on, the state, and the proof that it is whole.
namespace th::train {

void Trainer::open_checkpoint() {
  const bool latest = config_.checkpoint.resume == config::Resume::kLatest;
  if (latest) {
    std::vector<std::string> notes;
    reader_ =
        open_latest(collectives_, checkpoints_, is_root() ? output_.run_id() : "", notes, damaged_);
    for (const std::string& note : notes) {
      if (is_root()) log_.warn(note);
    }
    if (!reader_) {
      log_.info("checkpoint.resume=latest: no checkpoint in " + checkpoints_ +
                ", the run starts anew.");
      return;
    }
  }
  if (is_root() && !config_.checkpoint.init_from.empty())
    log_.warn("checkpoint.init_from has no effect: the run goes on from " + reader_->folder());
  run_agreed(collectives_, [&] {
    if (!latest) reader_ = std::make_unique<io::CheckpointReader>(config_.checkpoint.resume_path);
    state_ = run_state_from_json(reader_->info().state_json);
    std::string fatal;
    for (const config::KeyDifference& d : config::compare_for_resume(reader_->info().deck, deck_)) {
      const std::string line =
          d.key + ": the checkpoint has " + d.checkpoint + ", the deck " + d.given;
      if (d.fatal) fatal += "\n  " + line;
      other_precision_ = other_precision_ || d.key == "precision.dtype";
      if (!d.fatal && is_root()) log_.info("resume: " + line);
    }
    const config::RunConfig before =
        config::load_deck_text(reader_->info().deck, "checkpoint", "/", {}).config;
    const std::string other = tracker_.restore(state_.best, before);
    if (!other.empty() && is_root()) log_.info(other);
    if (finished()) tracker_.restore_end(state_.best_at_end);
    if (!fatal.empty())
      throw DeckError("the deck can't go on from " + reader_->folder() + ":" + fatal);
  });
}

void Trainer::open_initial() {
  if (config_.checkpoint.init_from.empty() || reader_) return;
  run_agreed(collectives_, [&] {
    initial_ =
        std::make_unique<io::CheckpointReader>(io::named_checkpoint(config_.checkpoint.init_from));
    state_.parent = run_state_from_json(initial_->info().state_json).run;
    const zero::FlatLayout layout(
        model::parameter_units(config_.model, data_.source_vocabulary, data_.target_vocabulary,
                               model::learned_positions(config_))
            .units,
        1);
    if (!dataset_.train) return initial_->require_same_tensors(layout);
    const std::string other = io::require_same_model(
        *initial_, layout, dataset_.source_tokenizer->saved(), dataset_.target_tokenizer->saved());
    if (!other.empty() && is_root())
      log_.warn(
          "checkpoint.init_from: " + initial_->folder() +
          " was trained with other tokens, so that rows of its embeddings get other meanings:" +
          other);
  });
}

void Trainer::resume() {
  state_.identity = state_.identity.empty() ? identity_ : state_.identity;
  if (!config_.checkpoint.init_from.empty() && !reader_) {
    memory_->saw_resume();
    load_checkpoint(*initial_, *engine_, collectives_, LoadWhat::kParameters);
    log_.info("Parameters from " + initial_->folder() + ", a fresh optimizer, step 0.");
    initial_.reset();
    return;
  }
  if (!reader_) return;
  run_agreed(collectives_, [&] { require_states(*reader_, *engine_); });
  memory_->saw_resume();
  if (scales_loss() && state_.loss_scale.scale > 0) loss_scale_.restore(state_.loss_scale);
  load_checkpoint(*reader_, *engine_, collectives_, LoadWhat::kEverything,
                  config_.checkpoint.resume == config::Resume::kLatest ? Checksums::kCheckedBefore
                                                                       : Checksums::kCheck);
  check_probe();
  log_.info("Resumed " + reader_->folder() + " at step " + std::to_string(state_.step) +
            " (written by " + std::to_string(reader_->info().world_size) + " ranks at stage " +
            std::to_string(reader_->info().zero_stage) + ").");
  for (const std::string& change : state_changes(reader_->info(), config_, state_.loss_scale.scale))
    log_.info(change);
  const bool tells_its_end = !finished() || !state_.exit.empty();
  saved_step_ = tells_its_end && reader_->folder().rfind(checkpoints_, 0) == 0 ? state_.step : -1;
  compare_rates();
  if (state_.identity != identity_)
    log_.info("The checkpoint was written as [" + state_.identity + "], this run is [" + identity_ +
              "].");
  state_.identity = identity_;
}

void Trainer::compare_rates() {
  constexpr double kNoticed = 0.01;  // of the larger one
  if (finished()) return;
  const config::RunConfig before =
      config::load_deck_text(reader_->info().deck, "checkpoint", "/", {}).config;
  const std::int64_t end_before = schedule_steps(before, *source_);
  const std::int64_t next = state_.step - state_.skipped_steps + 1;
  const double then = learning_rate(before, end_before, next),
               now = learning_rate(config_, total_steps_, next);
  if (!is_root() || std::abs(now - then) <= kNoticed * std::max(now, then)) return;
  std::array<char, 160> rates{};
  std::snprintf(rates.data(), rates.size(),
                "The learning rate of step %lld is %.6g by this deck and %.6g by the checkpoint's",
                static_cast<long long>(state_.step + 1), now, then);
  std::string why = "schedule.* or optimizer.lr differ";
  // Whether the rate would be the same with the checkpoint's end.
  const bool end_alone = learning_rate(config_, end_before, next) == then;
  if (end_before > 0 && total_steps_ > 0 && end_before != total_steps_ && end_alone)
    why = "the schedule ends at step " + std::to_string(total_steps_) + " in place of " +
          std::to_string(end_before) +
          " (schedule.total_steps, or train.epochs); schedule.total_steps=" +
          std::to_string(end_before) + " keeps the end";
  log_.warn(std::string(rates.data()) + ": " + why + ".");
}

void Trainer::check_probe() {
  if (!state_.altered.empty()) {
    log_.info("The parameters are " + state_.altered + ": there is no probe loss to compare with.");
    state_.altered.clear();
    return;
  }
  if (!state_.probe.empty() && state_.probe != probe_hash_) {
    log_.info(
        "The probe batch is another one than when the checkpoint was written, so its loss proves "
        "nothing: data.valid_source or data.valid_target differ.");
    return;
  }
  constexpr double kAccepted = 1e-5;  // relative, at another identity (contract.md)
  const double now = probe();
  const double before = state_.probe_loss;
  if (now == before) return;
  if (other_precision_) {
    log_.info("The probe batch's loss was " + std::to_string(before) +
              " in the checkpoint's precision and is " + std::to_string(now) + " in this one.");
    return;
  }
  const double relative = std::abs(now - before) / std::max(std::abs(before), 1e-30);
  std::array<char, 160> numbers{};
  std::snprintf(numbers.data(), numbers.size(),
                "%.17g when it was written and %.17g now, %.2g relative", before, now, relative);
  if (state_.identity == identity_ || !(relative <= kAccepted)) {
    throw CheckpointError(reader_->folder() + ": the probe batch's loss was " + numbers.data() +
                          ": the parameters or the data are not the same");
  }
  log_.info(std::string("The probe batch's loss was ") + numbers.data() +
            ", within the 1e-5 that another identity explains.");
}

}  // namespace th::train
