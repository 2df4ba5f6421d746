#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "th/monitor/metrics.hpp"
#include "th/monitor/progress.hpp"
#include "th/monitor/progress_text.hpp"
#include "th/monitor/tensorboard.hpp"
#include "th/train/watch/profile.hpp"
#include "th/train/watch/step_watch.hpp"
#include "train/trainer/session.hpp"

namespace th::train {

/// What a run writes for people and plots: records, TensorBoard's points, lines of the log, the
/// progress bar, and why the run takes the time that it takes. Rank 0 writes. An error in writing
/// waits for settle(), where all ranks learn of it, and no record is written after it.
class RunReport {
 public:
  using Clock = std::chrono::steady_clock;
  /// A step whose result is known.
  struct Step {
    std::int64_t number = 0;  ///< from 1
    double loss = 0, grad_norm = 0, lr = 0, loss_scale = 1, seconds = 0;
    std::int64_t source_tokens = 0, target_tokens = 0, padded_tokens = 0, score_cells = 0,
                 padded_score_cells = 0;
    [[nodiscard]] std::int64_t tokens() const noexcept { return source_tokens + target_tokens; }
  };

  /// Opens the files; those of a run that goes on are cut behind its checkpoint. Collective.
  explicit RunReport(Session& session);
  ~RunReport();

  /// Whether rank 0 could not write a record.
  [[nodiscard]] bool failed() const noexcept { return failure_ != nullptr; }
  /// Throws what could not be written, on every rank. Collective.
  void settle();
  void say(const std::string& text);
  void say_why_it_stops();
  /// A warning that all ranks know of.
  void warn(const std::string& text);
  /// What other ranks have warned of. Collective.
  void gather_warnings();
  /// The bar leaves the terminal to other output.
  void clear_bar();

  /// The record of a step, whether it is skipped or not.
  void record(const Step& step, bool skipped);
  /// The rest of what is told of a step that counts: plots, memory, progress.
  void plot(const Step& step);
  void count(const Step& step);
  /// The times that all ranks had in the last step.
  void take_times(std::span<const StepTimes> ranks);
  /// An epoch's end and a validation in between, with what it found beside the loss.
  void epoch(double loss, const std::optional<Validation>& validation, double seconds);
  void validation(const Validation& validation);
  /// The scores of the test set, with the parameters of a step.
  void test(const std::vector<Score>& scores, std::int64_t step);
  /// TensorBoard's point of a phase that began at `start`; its seconds.
  double phase(const char* name, Clock::time_point start);
  /// Seconds beside the steps are added there.
  [[nodiscard]] TimeUse& time_use() noexcept { return use_; }
  /// Null where profile.enabled is false.
  [[nodiscard]] Profile* profile() noexcept { return profile_.get(); }
  /// The last record, and the log's last lines. Collective.
  void summary(const std::string& exit, const std::string& reason);

 private:
  void open_watch();
  void open_files();
  void note(const std::function<void()>& write);
  [[nodiscard]] const runtime::MemoryLedger& ledger() const;
  [[nodiscard]] std::int64_t memory_in_use() const;
  void scores(const Validation& validation);
  void show_progress(double loss, double seconds);
  /// 0: it has no end.
  [[nodiscard]] std::int64_t steps_of_the_epoch() const;
  /// The run's last step, as far as steps and epochs say; 0: not known.
  [[nodiscard]] std::int64_t last_step() const;
  [[nodiscard]] monitor::SummaryRecord summary_record();
  void traffic(monitor::SummaryRecord& record);
  void say_verdict();

  Session& session_;
  RunContext& run_;
  RunState& state_;
  std::unique_ptr<Profile> profile_;
  std::unique_ptr<monitor::MetricsWriter> metrics_;
  std::unique_ptr<monitor::TensorboardWriter> tensorboard_;
  std::unique_ptr<monitor::Progress> progress_;
  monitor::LinePace pace_;
  std::unique_ptr<StragglerWatch> stragglers_;
  LossWatch losses_;
  TimeUse use_;              ///< of the steps behind run.warmup_steps
  Clock::time_point began_;  ///< the first step
  std::exception_ptr failure_;
};

}  // namespace th::train
