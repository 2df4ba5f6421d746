#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "th/data/loader.hpp"
#include "th/train/loss_scale.hpp"
#include "th/train/watch/step_watch.hpp"
#include "train/trainer/run_report.hpp"
#include "train/trainer/session.hpp"

namespace th::train {

/// The steps of a run: batches, the engine's step, its result and the verdict on it. Where a GPU
/// runs ahead of the host a step is enqueued before the result of the one before is read. All calls
/// are collective unless they say otherwise.
class StepLoop {
 public:
  /// From the step of the session's state on.
  StepLoop(Session& session, RunReport& report);

  /// One step, with the times of this rank.
  void train();
  /// Reads the results of all steps: what follows needs the state that they leave.
  void finish();
  /// No step follows: the threads that make batches end. Not collective.
  void end_batches() { loader_.reset(); }
  /// Of this rank's last step. Not collective, as what follows.
  [[nodiscard]] const StepTimes& times() const noexcept { return times_; }
  /// Seconds: the next step ends before the time limit too.
  [[nodiscard]] double longest() const noexcept { return longest_; }

 private:
  using Clock = std::chrono::steady_clock;
  /// A step that was enqueued and whose result nobody has read.
  struct UnderWay {
    RunReport::Step step;
    Clock::time_point start;
  };
  /// The last step whose loss and norm were looked at.
  struct Judged {
    std::int64_t step = 0;
    double loss = 0, grad_norm = 0, loss_scale = 1;
    std::string not_finite;
  };
  void enqueue();
  /// Reads the result of the earliest step under way: records, and the verdict on it.
  void finish_one();
  [[nodiscard]] data::StepBatches next_batches();
  /// Whether train.on_not_finite=skip passes over a step with this loss and gradient norm.
  [[nodiscard]] bool skips(double loss, double grad_norm) const;
  void skip(std::int64_t step, const std::string& where);
  /// What a loss or gradients that are not finite mean: a skipped step with fp16's loss scale, else
  /// the end by give_up().
  void judge(std::int64_t step, double loss, const zero::StepResult& result);
  void rescale(const std::string& step, const std::string& where, bool overflow);
  /// All ranks have the same loss and norm, so each ends the run with this error.
  [[noreturn]] void give_up(const std::string& numerics);
  /// An audit found a rank that differs: each ends the run with this error.
  [[noreturn]] void end_by_audit(const std::string& found);
  /// Keeps the step that ends the run, and the parameters before it, for th_app --replay, where the
  /// run writes checkpoints. What can't be written is a warning.
  void keep_bad_step();
  void write_bad_step();
  /// What this rank's main thread has spent in collectives and in waiting for its communication.
  [[nodiscard]] double seconds_in_others() const;
  /// What its communication thread has spent in collectives without that anybody waited.
  [[nodiscard]] double seconds_beside() const;

  Session& session_;
  RunContext& run_;
  RunState& state_;
  RunReport& report_;
  LossScale loss_scale_;
  std::unique_ptr<data::BatchLoader> loader_;
  std::deque<UnderWay> under_way_;
  Judged last_judged_;
  StepTimes times_;
  Clock::time_point last_result_;  ///< when the last result was read
  double longest_ = 0;
};

}  // namespace th::train
