#include "th/train/trainer.hpp"

#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/monitor/header.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/observe/signals.hpp"
#include "th/train/agreement.hpp"
#include "th/train/audit/audit.hpp"
#include "th/train/evaluation.hpp"
#include "th/train/lr_schedule.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace th::train {

using runtime::FlightRecord;

namespace {

using monitor::fixed;

constexpr std::int64_t kStepsAhead = 4;                   // that wait
constexpr std::int64_t kStepsInMemory = kStepsAhead + 2;  // and the one in the making, that in use

}  // namespace

Trainer::~Trainer() = default;

bool Trainer::finished() const {
  const bool all_epochs = state_.epoch >= config_.train.epochs;
  const bool all_steps = config_.train.max_steps > 0 && state_.step >= config_.train.max_steps;
  return all_epochs || all_steps || tracker_.out_of_patience();
}

bool Trainer::completed() {
  if (!finished() || state_.exit.empty()) return false;
  if (state_.exit == RunState::kCompleted || config_.data.test_source.empty()) return true;
  std::string exit;  // of the last record
  run_agreed(collectives_, [&] {
    if (is_root())
      exit = monitor::MetricsWriter::last_exit(config_.run.output_dir + "/metrics.jsonl");
  });
  collectives_.broadcast(exit, 0);
  return exit == RunState::kCompleted;
}

int Trainer::run() {
  if (completed_) {
    say("The run in " + config_.run.output_dir + " is complete at step " +
        std::to_string(state_.step) + "; nothing to do.");
    return static_cast<int>(ExitCode::kCompleted);
  }
  open_monitors();
  if (trained_before()) validated_step_ = state_.step;
  state_.exit.clear();
  try {
    return run_to_the_end();
  } catch (const Error& error) {
    if (profile_) profile_->give_up(error);
    throw;
  }
}

int Trainer::run_to_the_end() {
  loader_ = std::make_unique<data::BatchLoader>(
      source_, state_.epoch, state_.step_in_epoch, config_.data.num_workers, kStepsAhead,
      data::BatchLoader::Notes{engine_->flight_record(), state_.step + 1});
  bool stopped = false, best = false;
  while (!finished() || epoch_end_due()) {
    const bool due = state_.validation_due;
    if (!due) train_one();
    // An audit gives one rank more to do.
    times_were_taken_ = !due && !audit_->due(state_.step);
    const bool epoch_ended = state_.step_in_epoch == source_->steps(state_.epoch);
    stopped = epoch_ended ? !end_epoch() : (due || validates_now()) && !validate_in_between();
    if (stopped) break;
    const bool by_epoch = epoch_ended && config_.checkpoint.every_epochs > 0 &&
                          state_.epoch % config_.checkpoint.every_epochs == 0;
    const bool by_step =
        config_.checkpoint.every_steps > 0 && state_.step % config_.checkpoint.every_steps == 0;
    best = take_validation(by_epoch || by_step || (finished() && saving()), true);
    const Border border = agree();
    if (border.writers_done) {
      watchdog_.enter("checkpoint", state_.step);
      saver_->finish();
    }
    if (border.note_failed) {
      save_what_can_be();
      settle_notes();
    }
    stopping_ = border.stop;
    stopped = !border.stop.empty() && !finished();
    if (stopped) break;
    if (!finished() && (by_epoch || by_step || best || border.checkpoint)) save();
  }
  loader_.reset();
  finish_steps();
  if (!stopped) {
    if (dataset_.valid && validated_step_ != state_.step) {
      stopped = !validate_in_between();
      best = take_validation(saving(), false);
    }
    if (!stopped) state_.exit = dataset_.test ? RunState::kTrained : RunState::kCompleted;
  }
  if (stopped) say_why_it_stops();
  if ((saving() || stopped || best) && saved_step_ != state_.step) save();
  saver_->finish();
  settle_notes();
  if (!stopped) stopped = !give_final();  // what fails there takes no training with it
  if (profile_) profile_->end_run();
  write_summary(stopped ? "stopped" : RunState::kCompleted,
                !stopped && tracker_.out_of_patience() ? "patience" : "");
  if (stopped)
    say("Stopped at step " + std::to_string(state_.step) +
        " with a checkpoint; start the same command with checkpoint.resume=latest.");
  return static_cast<int>(stopped ? ExitCode::kStopped : ExitCode::kCompleted);
}

bool Trainer::validates_now() const {
  const std::int64_t every = config_.train.valid_every_steps;
  return every > 0 && state_.step % every == 0;
}

bool Trainer::epoch_end_due() const {
  return state_.validation_due && state_.step_in_epoch == source_->steps(state_.epoch);
}

void Trainer::say_why_it_stops() {
  say("Stopping after step " + std::to_string(state_.step) + ": " + stopping_ + ".");
}

void Trainer::train_step() {
  const auto start = Clock::now();
  const FlightRecord::HostScope event(*engine_->flight_record(), FlightRecord::What::kStep);
  watchdog_.enter("training", state_.step + 1);
  const data::StepBatches batches = next_batches();
  if (audit_->due(state_.step + 1)) finish_steps();  // the audit waits, and may end the run
  const std::int64_t optimizer_step = state_.step - state_.skipped_steps + 1;
  const double lr = learning_rate(config_, total_steps_, optimizer_step);
  const std::string found =
      audit_->enqueue_step(batches, state_.step, {lr, optimizer_step, loss_scale_.scale()});
  if (!found.empty()) end_by_audit(found);
  ++state_.step;
  ++state_.step_in_epoch;
  under_way_.push_back({state_.step, lr, start, batches.source_tokens, batches.target_tokens,
                        batches.padded_tokens, batches.score_cells, batches.padded_score_cells});
  memory_->saw_training(batches.rounds, config_.data.num_workers > 0 ? kStepsInMemory : 1);
  // The next loss scale depends on this step's gradients.
  const std::size_t ahead = engine_->runs_ahead() && !scales_loss() ? 1 : 0;
  while (under_way_.size() > ahead) finish_step();
}

void Trainer::finish_step() {
  const UnderWay step = under_way_.front();
  under_way_.pop_front();
  const zero::StepResult result = engine_->result();
  const auto now = Clock::now();
  const double seconds =
      std::chrono::duration<double>(now - std::max(step.start, last_result_)).count();
  last_result_ = now;
  const double loss = result.loss_sum / static_cast<double>(step.target_tokens);
  const bool skipped = skips(loss, result.grad_norm);
  const double scale = loss_scale_.scale();  // that the step had
  note([&] {
    metrics_->step({step.step, state_.epoch, loss, result.grad_norm, step.lr, step.source_tokens,
                    step.target_tokens, seconds,
                    scales_loss() ? std::optional<double>(scale) : std::nullopt, skipped});
  });
  if (skipped) return skip_step(step.step, result.not_finite);
  last_judged_ = {step.step, loss, result.grad_norm, scale, result.not_finite};
  judge(step.step, loss, result);
  const std::int64_t tokens = step.source_tokens + step.target_tokens;
  note_step(step.step, loss, result.grad_norm, step.lr, static_cast<double>(tokens) / seconds,
            scale);
  if (const std::string spike = losses_.observe(step.step, loss); !spike.empty()) say(spike);
  state_.epoch_loss_sum += result.loss_sum;
  state_.epoch_tokens += step.target_tokens;
  state_.epoch_seconds += seconds;
  ++totals_.steps;
  totals_.seconds += seconds;
  longest_step_ = std::max(longest_step_, seconds);
  totals_.real_tokens += tokens;
  totals_.padded_tokens += step.padded_tokens;
  totals_.score_cells += step.score_cells;
  totals_.padded_score_cells += step.padded_score_cells;
  if (step.step > config_.run.warmup_steps) {
    totals_.timed_tokens += tokens;
    totals_.timed_seconds += seconds;
  }
  if (totals_.steps == 1) report_memory();
  show_progress(loss, seconds);
}

data::StepBatches Trainer::next_batches() {
  const FlightRecord::HostScope event(*engine_->flight_record(), FlightRecord::What::kBatch);
  const auto start = Clock::now();
  data::StepBatches batches = [&] {
    const runtime::WaitScope wait(&watchdog_, "the reading of a batch",
                                  runtime::Watchdog::For::kItself);
    return loader_->next();
  }();
  times_.data = std::chrono::duration<double>(Clock::now() - start).count();
  return batches;
}

void Trainer::finish_steps() {
  while (!under_way_.empty()) finish_step();
}

void Trainer::give_up(const std::string& numerics) {
  saver_->finish();  // the checkpoint before it is the way out
  keep_bad_step();
  throw Error(ExitCode::kNumerics, numerics, Error::Thrown::kEverywhere);
}

void Trainer::end_by_audit(const std::string& found) {
  try {
    saver_->finish();             // the checkpoint before it is the way out
  } catch (const Error& error) {  // what was found is told all the same
    if (error.thrown() == Error::Thrown::kHere) throw;
    warn(error.what());
  }
  throw Error(ExitCode::kCommunication, found, Error::Thrown::kEverywhere);
}

bool Trainer::skips(double loss, double grad_norm) const {
  const bool asked = config_.train.on_not_finite == config::OnNotFinite::kSkip;
  const bool overflow = scales_loss() && std::isfinite(loss);
  return asked && !overflow && !(std::isfinite(loss) && std::isfinite(grad_norm));
}

void Trainer::skip_step(std::int64_t number, const std::string& where) {
  ++state_.skipped_steps;
  ++totals_.steps;
  if (!is_root()) return;
  log_.warn("step " + std::to_string(number) + ": the loss or gradients are not finite" +
            (where.empty() ? "" : ", first in " + where) +
            "; the step is skipped (train.on_not_finite=skip), the parameters stay");
}

void Trainer::judge(std::int64_t number, double loss, const zero::StepResult& result) {
  const bool overflow = std::isfinite(loss) && !std::isfinite(result.grad_norm);
  const std::string step = "step " + std::to_string(number);
  if (!std::isfinite(loss) || (overflow && !scales_loss())) {
    give_up(step + ": loss " + std::to_string(loss) + ", gradient norm " +
            std::to_string(result.grad_norm) + " are not finite" +
            (result.not_finite.empty() ? "" : ", first in " + result.not_finite) +
            "; the parameters were not updated. Lower optimizer.lr or set train.gradient_clip.");
  }
  if (!scales_loss()) return;
  const double before = loss_scale_.scale();
  const LossScale::Verdict verdict = loss_scale_.update(overflow);
  state_.loss_scale = loss_scale_.state();
  if (!overflow) return;
  ++state_.skipped_steps;
  if (verdict == LossScale::Verdict::kExhausted) {
    give_up(step + ": gradients overflow fp16, first in " + result.not_finite +
            ", and the loss scale is at its smallest, " + std::to_string(before) +
            ". Lower optimizer.lr, or use precision.dtype=bf16.");
  }
  const std::string text = step + ": gradients overflow fp16 at loss scale " + fixed(before, 4) +
                           ", first in " + result.not_finite +
                           "; the step is skipped, the scale is now " +
                           fixed(loss_scale_.scale(), 4);
  if (verdict == LossScale::Verdict::kBelowOne) {
    if (is_root()) log_.warn(text);
  } else {
    say(text);
  }
}

Trainer::Border Trainer::agree() {
  const FlightRecord::HostScope event(*engine_->flight_record(), FlightRecord::What::kBorder);
  const std::array<double, 9> mine{stop_.reason(longest_step_),
                                   runtime::StopSignals::take_checkpoint_request() ? 1.0 : 0.0,
                                   saver_->busy() ? 1.0 : 0.0,
                                   note_failure_ ? 1.0 : 0.0,
                                   log_.holds() ? 1.0 : 0.0,
                                   times_.data,
                                   times_.compute,
                                   times_.communication,
                                   times_.hidden};
  std::vector<double> all(mine.size() * static_cast<std::size_t>(collectives_.size()));
  collectives_.all_gather_doubles(mine, all);
  Border border;
  bool busy = false, warned = false;
  std::vector<double> reasons;
  std::vector<StepTimes> times;
  for (std::size_t r = 0; r < all.size(); r += mine.size()) {
    reasons.push_back(all[r]);
    border.checkpoint = border.checkpoint || all[r + 1] != 0;
    busy = busy || all[r + 2] != 0;
    border.note_failed = border.note_failed || all[r + 3] != 0;
    warned = warned || all[r + 4] != 0;
    times.push_back({all[r + 5], all[r + 6], all[r + 7], all[r + 8]});
  }
  if (times_were_taken_) watch_step(times);
  times_were_taken_ = false;
  if (warned) gather_warnings();
  border.stop = stop_.first_text(reasons);
  border.writers_done = saver_->in_flight() && !busy;
  return border;
}

const runtime::MemoryLedger& Trainer::ledger() const {
  return device_.on_gpu() ? runtime::MemoryLedger::device() : runtime::MemoryLedger::process();
}

bool Trainer::saving() const {
  return config_.checkpoint.every_epochs > 0 || config_.checkpoint.every_steps > 0;
}

double Trainer::probe() {
  if (probe_batch_.sentences == 0) return 0;
  memory_->saw_evaluation({shape_of(probe_batch_)}, ledger_bytes(probe_batch_));
  engine_->units().begin_evaluation(1);
  const model::LossSum sum = model_->evaluate(engine_->units(), probe_batch_);
  return sum.loss_sum / static_cast<double>(sum.tokens);
}

void Trainer::save() {
  finish_steps();
  watchdog_.enter("checkpoint", state_.step);
  const auto start = Clock::now();
  const FlightRecord::HostScope event(*engine_->flight_record(), FlightRecord::What::kCheckpoint);
  state_.probe_loss = probe();
  state_.probe = probe_hash_;
  state_.best = tracker_.state();
  state_.best_at_end = tracker_.end();
  memory_->saw_save();
  saver_->save(*engine_, checkpoint_info(state_), {tracker_.kept(), std::exchange(dropped_, {})});
  saved_step_ = state_.step;
  use_.checkpoints += note_seconds("checkpoint", start);
}

io::CheckpointInfo Trainer::checkpoint_info(const RunState& state) const {
  io::CheckpointInfo info;
  info.step = state.step;
  info.epoch = state.epoch;
  info.world_size = collectives_.size();
  info.zero_stage = config_.zero.stage;
  info.deck = config::resolved_text(deck_);
  info.build = build_line();
  info.identity = identity_;
  info.run = state.run;
  info.state_json = to_json(state);
  if (dataset_.source_tokenizer) {
    info.source_tokens = dataset_.source_tokenizer->tokens();
    info.target_tokens = dataset_.target_tokenizer->tokens();
    info.source_model = dataset_.source_tokenizer->model();
    info.target_model = dataset_.target_tokenizer->model();
  }
  info.units = model_->units();
  info.aliases = model_->aliases();
  return info;
}

void Trainer::save_what_can_be() {
  try {
    if (saving() && saved_step_ != state_.step) save();
    saver_->finish();
  } catch (const Error& error) {  // the disk that took no record may take no checkpoint
    if (error.thrown() == Error::Thrown::kHere) throw;
    say(std::string("No checkpoint either: ") + error.what());
  }
}

}  // namespace th::train
