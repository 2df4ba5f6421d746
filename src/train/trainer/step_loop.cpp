#include "train/trainer/step_loop.hpp"

#include "th/base/error.hpp"
#include "th/monitor/header.hpp"
#include "th/train/lr_schedule.hpp"

#include <algorithm>
#include <cmath>

namespace th::train {

using monitor::fixed;
using runtime::FlightRecord;

namespace {

constexpr std::int64_t kStepsAhead = 4;                   // that wait
constexpr std::int64_t kStepsInMemory = kStepsAhead + 2;  // and the one in the making, that in use

}  // namespace

StepLoop::StepLoop(Session& session, RunReport& report)
    : session_(session),
      run_(session.run),
      state_(session.state),
      report_(report),
      loss_scale_(session.run.config.precision) {
  if (run_.scales_loss() && state_.loss_scale.scale > 0) loss_scale_.restore(state_.loss_scale);
  loader_ = std::make_unique<data::BatchLoader>(
      session.data.source, state_.epoch, state_.step_in_epoch, run_.config.data.num_workers,
      kStepsAhead, data::BatchLoader::Notes{session.engine->flight_record(), state_.step + 1});
}

double StepLoop::seconds_in_others() const {
  constexpr double kNanosecond = 1e-9;
  return kNanosecond * static_cast<double>(run_.collectives.own_ns() +
                                           session_.engine->communication().waited_ns());
}

double StepLoop::seconds_beside() const {
  constexpr double kNanosecond = 1e-9;
  return kNanosecond * static_cast<double>(run_.collectives.others_ns() -
                                           session_.engine->communication().waited_ns());
}

void StepLoop::train() {
  const auto start = Clock::now();
  const double others = seconds_in_others(), beside = seconds_beside();
  times_ = StepTimes();
  if (Profile* profile = report_.profile()) profile->begin_step(state_.step + 1);
  enqueue();
  if (Profile* profile = report_.profile()) profile->end_step();
  times_.communication = seconds_in_others() - others;
  times_.hidden = std::max(0.0, seconds_beside() - beside);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  times_.compute = std::max(0.0, seconds - times_.data - times_.communication);
}

void StepLoop::enqueue() {
  const auto start = Clock::now();
  const FlightRecord::HostScope event(*session_.engine->flight_record(), FlightRecord::What::kStep);
  run_.watchdog.enter("training", state_.step + 1);
  const data::StepBatches batches = next_batches();
  if (session_.audit->due(state_.step + 1)) finish();  // the audit waits, and may end the run
  const std::int64_t optimizer_step = state_.step - state_.skipped_steps + 1;
  const double lr = learning_rate(run_.config, session_.total_steps, optimizer_step);
  const std::string found =
      session_.audit->enqueue_step(batches, state_.step, {lr, optimizer_step, loss_scale_.scale()});
  if (!found.empty()) end_by_audit(found);
  ++state_.step;
  ++state_.step_in_epoch;
  RunReport::Step step;
  step.number = state_.step;
  step.lr = lr;
  step.source_tokens = batches.source_tokens;
  step.target_tokens = batches.target_tokens;
  step.padded_tokens = batches.padded_tokens;
  step.score_cells = batches.score_cells;
  step.padded_score_cells = batches.padded_score_cells;
  under_way_.push_back({step, start});
  session_.memory->saw_training(batches.rounds,
                                run_.config.data.num_workers > 0 ? kStepsInMemory : 1);
  // The next loss scale depends on this step's gradients.
  const std::size_t ahead = session_.engine->runs_ahead() && !run_.scales_loss() ? 1 : 0;
  while (under_way_.size() > ahead) finish_one();
}

void StepLoop::finish_one() {
  const UnderWay under_way = under_way_.front();
  under_way_.pop_front();
  RunReport::Step step = under_way.step;
  const zero::StepResult result = session_.engine->result();
  const auto now = Clock::now();
  step.seconds =
      std::chrono::duration<double>(now - std::max(under_way.start, last_result_)).count();
  last_result_ = now;
  step.loss = result.loss_sum / static_cast<double>(step.target_tokens);
  step.grad_norm = result.grad_norm;
  step.loss_scale = loss_scale_.scale();
  const bool skipped = skips(step.loss, step.grad_norm);
  report_.record(step, skipped);
  if (skipped) return skip(step.number, result.not_finite);
  last_judged_ = {step.number, step.loss, step.grad_norm, step.loss_scale, result.not_finite};
  judge(step.number, step.loss, result);
  report_.plot(step);
  state_.epoch_loss_sum += result.loss_sum;
  state_.epoch_tokens += step.target_tokens;
  state_.epoch_seconds += step.seconds;
  longest_ = std::max(longest_, step.seconds);
  report_.count(step);
}

void StepLoop::finish() {
  while (!under_way_.empty()) finish_one();
}

data::StepBatches StepLoop::next_batches() {
  const FlightRecord::HostScope event(*session_.engine->flight_record(),
                                      FlightRecord::What::kBatch);
  const auto start = Clock::now();
  data::StepBatches batches = [&] {
    const runtime::WaitScope wait(&run_.watchdog, "the reading of a batch",
                                  runtime::Watchdog::For::kItself);
    return loader_->next();
  }();
  times_.data = std::chrono::duration<double>(Clock::now() - start).count();
  return batches;
}

void StepLoop::give_up(const std::string& numerics) {
  session_.saver->finish();  // the checkpoint before it is the way out
  keep_bad_step();
  throw Error(ExitCode::kNumerics, numerics, Error::Thrown::kEverywhere);
}

void StepLoop::end_by_audit(const std::string& found) {
  try {
    session_.saver->finish();     // the checkpoint before it is the way out
  } catch (const Error& error) {  // what was found is told all the same
    if (error.thrown() == Error::Thrown::kHere) throw;
    report_.warn(error.what());
  }
  throw Error(ExitCode::kCommunication, found, Error::Thrown::kEverywhere);
}

bool StepLoop::skips(double loss, double grad_norm) const {
  const bool asked = run_.config.train.on_not_finite == config::OnNotFinite::kSkip;
  const bool overflow = run_.scales_loss() && std::isfinite(loss);
  return asked && !overflow && !(std::isfinite(loss) && std::isfinite(grad_norm));
}

void StepLoop::skip(std::int64_t number, const std::string& where) {
  ++state_.skipped_steps;
  ++session_.totals.steps;
  if (!run_.is_root()) return;
  run_.log.warn("step " + std::to_string(number) + ": the loss or gradients are not finite" +
                (where.empty() ? "" : ", first in " + where) +
                "; the step is skipped (train.on_not_finite=skip), the parameters stay");
}

void StepLoop::judge(std::int64_t number, double loss, const zero::StepResult& result) {
  const bool overflow = std::isfinite(loss) && !std::isfinite(result.grad_norm);
  const std::string step = "step " + std::to_string(number);
  if (!std::isfinite(loss) || (overflow && !run_.scales_loss())) {
    give_up(step + ": loss " + std::to_string(loss) + ", gradient norm " +
            std::to_string(result.grad_norm) + " are not finite" +
            (result.not_finite.empty() ? "" : ", first in " + result.not_finite) +
            "; the parameters were not updated. Lower optimizer.lr or set train.gradient_clip.");
  }
  if (run_.scales_loss()) rescale(step, result.not_finite, overflow);
}

void StepLoop::rescale(const std::string& step, const std::string& where, bool overflow) {
  const double before = loss_scale_.scale();
  const LossScale::Verdict verdict = loss_scale_.update(overflow);
  state_.loss_scale = loss_scale_.state();
  if (!overflow) return;
  ++state_.skipped_steps;
  if (verdict == LossScale::Verdict::kExhausted) {
    give_up(step + ": gradients overflow fp16, first in " + where +
            ", and the loss scale is at its smallest, " + std::to_string(before) +
            ". Lower optimizer.lr, or use precision.dtype=bf16.");
  }
  const std::string text = step + ": gradients overflow fp16 at loss scale " + fixed(before, 4) +
                           ", first in " + where + "; the step is skipped, the scale is now " +
                           fixed(loss_scale_.scale(), 4);
  if (verdict == LossScale::Verdict::kBelowOne) {
    if (run_.is_root()) run_.log.warn(text);
  } else {
    report_.say(text);
  }
}

}  // namespace th::train
