#include "th/train/trainer.hpp"

#include "th/base/error.hpp"
#include "th/runtime/observe/signals.hpp"
#include "train/trainer/final_result.hpp"
#include "train/trainer/run_report.hpp"
#include "train/trainer/run_saver.hpp"
#include "train/trainer/run_setup.hpp"
#include "train/trainer/run_validation.hpp"
#include "train/trainer/session.hpp"
#include "train/trainer/step_loop.hpp"

#include <array>
#include <string>
#include <vector>

namespace th::train {

using runtime::FlightRecord;

Trainer::Trainer(const config::LoadedDeck& deck, const RunDevice& device,
                 runtime::WatchedCollectives& collectives, runtime::Watchdog& watchdog,
                 const runtime::Communicator& node, Log& log)
    : session_(std::make_unique<Session>(deck, device, collectives, watchdog, log)) {
  complete_ = !RunSetup(*session_, node).open();
}

Trainer::~Trainer() = default;

int Trainer::run() {
  Session& s = *session_;
  if (complete_) {
    s.run.log.info("The run in " + s.run.config.run.output_dir + " is complete at step " +
                   std::to_string(s.state.step) + "; nothing to do.");
    return static_cast<int>(ExitCode::kCompleted);
  }
  report_ = std::make_unique<RunReport>(s);
  saver_ = std::make_unique<RunSaver>(s, *report_);
  validation_ = std::make_unique<RunValidation>(s, *report_, *saver_);
  final_ = std::make_unique<FinalResult>(s, *report_, *saver_);
  s.state.exit.clear();
  try {
    return run_to_the_end();
  } catch (const Error& error) {
    if (Profile* profile = report_->profile()) profile->give_up(error);
    throw;
  }
}

int Trainer::run_to_the_end() {
  Session& s = *session_;
  steps_ = std::make_unique<StepLoop>(s, *report_);
  Ended ended = loop();
  steps_->end_batches();
  steps_->finish();
  finish(ended);
  bool stopped = ended.stopped;
  if (!stopped) stopped = !final_->give();  // what fails there takes no training with it
  if (Profile* profile = report_->profile()) profile->end_run();
  report_->summary(stopped ? "stopped" : RunState::kCompleted,
                   !stopped && s.tracker.out_of_patience() ? "patience" : "");
  if (stopped)
    report_->say("Stopped at step " + std::to_string(s.state.step) +
                 " with a checkpoint; start the same command with checkpoint.resume=latest.");
  return static_cast<int>(stopped ? ExitCode::kStopped : ExitCode::kCompleted);
}

Trainer::Ended Trainer::loop() {
  Session& s = *session_;
  const config::CheckpointSection& checkpoint = s.run.config.checkpoint;
  Ended ended;
  while (!s.finished() || validation_->epoch_end_due()) {
    const bool due = s.state.validation_due;
    if (!due) steps_->train();
    // An audit gives one rank more to do.
    take_times_ = !due && !s.audit->due(s.state.step);
    const bool epoch_ended = s.state.step_in_epoch == s.data.source->steps(s.state.epoch);
    if (epoch_ended || due || s.validates_now()) {
      steps_->finish();
      ended.stopped = !(epoch_ended ? validation_->end_epoch() : validation_->run());
      if (ended.stopped) break;
    }
    const bool by_epoch =
        epoch_ended && checkpoint.every_epochs > 0 && s.state.epoch % checkpoint.every_epochs == 0;
    const bool by_step = checkpoint.every_steps > 0 && s.state.step % checkpoint.every_steps == 0;
    ended.save = validation_->take(by_epoch || by_step || (s.finished() && s.run.saves()), true);
    const Border border = agree();
    if (border.writers_done) {
      s.run.watchdog.enter("checkpoint", s.state.step);
      saver_->finish();
    }
    if (border.record_failed) {
      save_what_can_be();
      report_->settle();
    }
    s.stopping.why = border.stop;
    ended.stopped = !border.stop.empty() && !s.finished();
    if (ended.stopped) break;
    if (!s.finished() && (by_epoch || by_step || ended.save || border.checkpoint)) save();
  }
  return ended;
}

void Trainer::finish(Ended& ended) {
  Session& s = *session_;
  if (!ended.stopped) {
    if (s.data.dataset.valid && !validation_->is_done()) {
      ended.stopped = !validation_->run();
      ended.save = validation_->take(s.run.saves(), false);
    }
    if (!ended.stopped)
      s.state.exit = s.data.dataset.test ? RunState::kTrained : RunState::kCompleted;
  }
  if (ended.stopped) report_->say_why_it_stops();
  if ((s.run.saves() || ended.stopped || ended.save) && !saver_->is_saved()) save();
  saver_->finish();
  report_->settle();
}

Trainer::Border Trainer::agree() {
  Session& s = *session_;
  const FlightRecord::HostScope event(*s.engine->flight_record(), FlightRecord::What::kBorder);
  const StepTimes& mine_times = steps_->times();
  const std::array<double, 9> mine{s.stopping.requests.reason(steps_->longest()),
                                   runtime::StopSignals::take_checkpoint_request() ? 1.0 : 0.0,
                                   s.saver->busy() ? 1.0 : 0.0,
                                   report_->failed() ? 1.0 : 0.0,
                                   s.run.log.holds() ? 1.0 : 0.0,
                                   mine_times.data,
                                   mine_times.compute,
                                   mine_times.communication,
                                   mine_times.hidden};
  std::vector<double> all(mine.size() * static_cast<std::size_t>(s.run.collectives.size()));
  s.run.collectives.control().all_gather_doubles(mine, all);
  Border border;
  bool busy = false, warned = false;
  std::vector<double> reasons;
  std::vector<StepTimes> times;
  for (std::size_t r = 0; r < all.size(); r += mine.size()) {
    reasons.push_back(all[r]);
    border.checkpoint = border.checkpoint || all[r + 1] != 0;
    busy = busy || all[r + 2] != 0;
    border.record_failed = border.record_failed || all[r + 3] != 0;
    warned = warned || all[r + 4] != 0;
    times.push_back({all[r + 5], all[r + 6], all[r + 7], all[r + 8]});
  }
  if (take_times_) report_->take_times(times);
  take_times_ = false;
  if (warned) report_->gather_warnings();
  border.stop = s.stopping.requests.first_text(reasons);
  border.writers_done = s.saver->in_flight() && !busy;
  return border;
}

void Trainer::save() {
  steps_->finish();
  saver_->save();
}

void Trainer::save_what_can_be() {
  try {
    if (session_->run.saves() && !saver_->is_saved()) save();
    saver_->finish();
  } catch (const Error& error) {  // the disk that took no record may take no checkpoint
    if (error.thrown() == Error::Thrown::kHere) throw;
    report_->say(std::string("No checkpoint either: ") + error.what());
  }
}

}  // namespace th::train
