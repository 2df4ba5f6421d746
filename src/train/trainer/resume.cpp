#include "th/base/counted.hpp"
#include "th/base/error.hpp"
#include "th/io/checkpoint/checkpoint_build.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/model/parameters/parameter_units.hpp"
#include "th/monitor/metrics.hpp"
#include "th/train/agreement.hpp"
#include "th/train/lr_schedule.hpp"
#include "train/state_changes.hpp"
#include "train/trainer/run_setup.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

// What a run takes from a checkpoint: where it goes on, the state, and the proof that it is whole.
namespace th::train {

void RunSetup::open_checkpoint() {
  const bool latest = config_.checkpoint.resume == config::Resume::kLatest;
  if (latest) {
    std::vector<std::string> notes;
    session_.resumed.reader = open_latest(collectives_.control(), run_.checkpoints,
                                          run_.is_root() ? session_.output.run_id() : "", notes,
                                          session_.resumed.damaged);
    for (const std::string& note : notes) {
      if (run_.is_root()) log_.warn(note);
    }
    if (!session_.resumed.reader) {
      log_.info("checkpoint.resume=latest: no checkpoint in " + run_.checkpoints +
                ", the run starts anew.");
      return;
    }
  }
  if (run_.is_root() && !config_.checkpoint.init_from.empty())
    log_.warn("checkpoint.init_from has no effect: the run goes on from " +
              session_.resumed.reader->folder());
  restore_state();
}

void RunSetup::restore_state() {
  Resumed& resumed = session_.resumed;
  run_agreed(collectives_.control(), [&] {
    if (config_.checkpoint.resume != config::Resume::kLatest)
      resumed.reader = std::make_unique<io::CheckpointReader>(config_.checkpoint.resume_path);
    state_ = run_state_from_json(resumed.reader->info().state_json);
    std::string fatal;
    for (const config::KeyDifference& d :
         config::compare_for_resume(resumed.reader->info().deck, run_.deck)) {
      const std::string line =
          d.key + ": the checkpoint has " + d.checkpoint + ", the deck " + d.given;
      if (d.fatal) fatal += "\n  " + line;
      resumed.other_precision = resumed.other_precision || d.key == "precision.dtype";
      if (!d.fatal && run_.is_root()) log_.info("resume: " + line);
    }
    const config::RunConfig before =
        config::load_deck_text(resumed.reader->info().deck, "checkpoint", "/", {}).config;
    const std::string other = session_.tracker.restore(state_.best, before);
    if (!other.empty() && run_.is_root()) log_.info(other);
    if (session_.finished()) session_.tracker.restore_end(state_.best_at_end);
    if (!fatal.empty())
      throw DeckError("the deck can't go on from " + resumed.reader->folder() + ":" + fatal);
  });
}

bool RunSetup::is_complete() {
  if (!session_.finished() || state_.exit.empty()) return false;
  if (state_.exit == RunState::kCompleted || config_.data.test_source.empty()) return true;
  std::string exit;  // of the last record
  run_agreed(collectives_.control(), [&] {
    if (run_.is_root())
      exit = monitor::MetricsWriter::last_exit(config_.run.output_dir + "/metrics.jsonl");
  });
  collectives_.control().broadcast(exit, 0);
  return exit == RunState::kCompleted;
}

namespace {

/// The keys by which the parameters of `initial` computed something else in its own run.
void warn_of_meanings(const io::CheckpointReader& initial, const config::LoadedDeck& deck,
                      Log& log) {
  try {
    for (const config::KeyDifference& one :
         config::differences_of_meaning(initial.info().deck, deck))
      log.warn("checkpoint.init_from: the model of " + initial.folder() +
               " computed something else with these parameters: its " + one.key + " was " +
               one.checkpoint + ", here it is " + one.given);
  } catch (const CheckpointError&) {
    // Its deck is of another build, which a start from parameters alone need not read.
  }
}

}  // namespace

void RunSetup::open_initial() {
  if (config_.checkpoint.init_from.empty() || session_.resumed.reader) return;
  run_agreed(collectives_.control(), [&] {
    initial_ =
        std::make_unique<io::CheckpointReader>(io::named_checkpoint(config_.checkpoint.init_from));
    state_.parent = run_state_from_json(initial_->info().state_json).run;
    const zero::FlatLayout layout(
        model::parameter_units(config_.model, session_.data.source_vocabulary,
                               session_.data.target_vocabulary, model::learned_positions(config_))
            .units,
        1);
    if (!session_.data.dataset.train) return initial_->require_same_tensors(layout);
    const std::string other =
        io::require_same_model(*initial_, layout, session_.data.dataset.source_tokenizer->saved(),
                               session_.data.dataset.target_tokenizer->saved());
    if (!other.empty() && run_.is_root())
      log_.warn(
          "checkpoint.init_from: " + initial_->folder() +
          " was trained with other tokens, so that rows of its embeddings get other meanings:" +
          other);
  });
  if (run_.is_root()) warn_of_meanings(*initial_, run_.deck, log_);
}

void RunSetup::load_initial() {
  session_.memory->saw_resume();
  load_checkpoint(*initial_, *session_.engine, collectives_.control(), LoadWhat::kParameters);
  log_.info("Parameters from " + initial_->folder() + ", a fresh optimizer, step 0.");
  initial_.reset();
}

void RunSetup::resume() {
  state_.identity = state_.identity.empty() ? run_.identity : state_.identity;
  if (initial_) return load_initial();
  if (!session_.resumed.reader) return;
  const io::CheckpointReader& reader = *session_.resumed.reader;
  run_agreed(collectives_.control(), [&] { require_states(reader, *session_.engine); });
  session_.memory->saw_resume();
  load_checkpoint(reader, *session_.engine, collectives_.control(), LoadWhat::kEverything,
                  config_.checkpoint.resume == config::Resume::kLatest ? Checksums::kCheckedBefore
                                                                       : Checksums::kCheck);
  check_probe();
  log_.info("Resumed " + reader.folder() + " at step " + std::to_string(state_.step) +
            " (written by " + counted(reader.info().world_size, "rank") + " at stage " +
            std::to_string(reader.info().zero_stage) + ").");
  for (const std::string& change : state_changes(reader.info(), config_, state_.loss_scale.scale))
    log_.info(change);
  const bool tells_its_end = !session_.finished() || !state_.exit.empty();
  if (tells_its_end && reader.folder().rfind(run_.checkpoints, 0) == 0)
    session_.resumed.saved_step = state_.step;
  compare_rates();
  if (state_.identity != run_.identity)
    log_.info("The checkpoint was written as [" + state_.identity + "], this run is [" +
              run_.identity + "].");
  state_.identity = run_.identity;
}

namespace {

/// Whether a user would see it in the loss.
bool jumps(double then, double now) {
  constexpr double kNoticed = 0.01;  // of the larger one
  return std::abs(now - then) > kNoticed * std::max(now, then);
}

/// A deck and the learning rate of a step by it.
struct Rate {
  const config::RunConfig& config;
  double rate = 0;
  /// Of the tensors that AdamW updates beside Muon.
  [[nodiscard]] double of_adamw() const {
    const config::OptimizerSection& o = config.optimizer;
    return o.name == config::OptimizerKind::kMuon && o.adam_lr > 0 ? rate / o.lr * o.adam_lr : rate;
  }
};

/// What to say where the second rate of Muon jumps and the first one does not tell it.
std::string adam_rates(const Rate& then, const Rate& now, std::int64_t step) {
  const bool apart = then.of_adamw() != then.rate || now.of_adamw() != now.rate;
  if (!apart || !jumps(then.of_adamw(), now.of_adamw())) return "";
  std::array<char, 200> text{};
  std::snprintf(text.data(), text.size(),
                "The rate of what AdamW updates beside Muon (optimizer.adam_lr) is %.6g in step "
                "%lld by this deck and %.6g by the checkpoint's.",
                now.of_adamw(), static_cast<long long>(step), then.of_adamw());
  return text.data();
}

}  // namespace

void RunSetup::compare_rates() {
  if (session_.finished()) return;
  const config::RunConfig before =
      config::load_deck_text(session_.resumed.reader->info().deck, "checkpoint", "/", {}).config;
  const std::int64_t end_before = schedule_steps(before, *session_.data.source);
  const std::int64_t next = state_.step - state_.skipped_steps + 1;
  const double then = learning_rate(before, end_before, next),
               now = learning_rate(config_, session_.total_steps, next);
  if (run_.is_root()) {
    const std::string of_adamw = adam_rates({before, then}, {config_, now}, state_.step + 1);
    if (!of_adamw.empty()) log_.warn(of_adamw);
  }
  if (!run_.is_root() || !jumps(then, now)) return;
  std::array<char, 160> rates{};
  std::snprintf(rates.data(), rates.size(),
                "The learning rate of step %lld is %.6g by this deck and %.6g by the checkpoint's",
                static_cast<long long>(state_.step + 1), now, then);
  std::string why = "schedule.* or optimizer.lr differ";
  // Whether the rate would be the same with the checkpoint's end.
  const bool end_alone = learning_rate(config_, end_before, next) == then;
  if (end_before > 0 && session_.total_steps > 0 && end_before != session_.total_steps && end_alone)
    why = "the schedule ends at step " + std::to_string(session_.total_steps) + " in place of " +
          std::to_string(end_before) +
          " (schedule.total_steps, or train.epochs); schedule.total_steps=" +
          std::to_string(end_before) + " keeps the end";
  log_.warn(std::string(rates.data()) + ": " + why + ".");
}

void RunSetup::check_probe() {
  if (!state_.altered.empty()) {
    log_.info("The parameters are " + state_.altered + ": there is no probe loss to compare with.");
    state_.altered.clear();
    return;
  }
  if (!state_.probe.empty() && state_.probe != session_.probe.hash) {
    log_.info(
        "The probe batch is another one than when the checkpoint was written, so its loss proves "
        "nothing: data.valid_source or data.valid_target differ.");
    return;
  }
  constexpr double kAccepted = 1e-5;  // relative, at another identity (contract.md)
  const double now = session_.probe_loss();
  const double before = state_.probe_loss;
  if (now == before) return;
  if (session_.resumed.other_precision) {
    log_.info("The probe batch's loss was " + std::to_string(before) +
              " in the checkpoint's precision and is " + std::to_string(now) + " in this one.");
    return;
  }
  const double relative = std::abs(now - before) / std::max(std::abs(before), 1e-30);
  std::array<char, 160> numbers{};
  std::snprintf(numbers.data(), numbers.size(),
                "%.17g when it was written and %.17g now, %.2g relative", before, now, relative);
  if (state_.identity == run_.identity || !(relative <= kAccepted)) {
    throw CheckpointError(session_.resumed.reader->folder() + ": the probe batch's loss was " +
                          numbers.data() + ": the parameters or the data are not the same");
  }
  log_.info(std::string("The probe batch's loss was ") + numbers.data() +
            ", within the 1e-5 that another identity explains.");
}

}  // namespace th::train
