#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "th/runtime/process/child_program.hpp"

namespace th::runtime {

/// Seconds in Slurm's way of writing what is left of a job: "1-02:03:04", "02:03:04", "03:04".
/// Empty for UNLIMITED, INVALID, NOT_SET and other text.
[[nodiscard]] std::optional<double> slurm_seconds(std::string_view text);

/// Asks Slurm what is left of this job, by `squeue`, without waiting for the answer. Where there is
/// no job, no squeue or no answer within ten seconds, it stays silent.
class SlurmQuestion {
 public:
  /// Starts squeue for this job; nothing where one is under way.
  void ask();
  /// Seconds left by an answer that came since the last call.
  [[nodiscard]] std::optional<double> answer();

 private:
  std::unique_ptr<ChildProcess> squeue_;  ///< null: no question is under way
  std::chrono::steady_clock::time_point start_;
};

/// When the run must end: run.max_minutes after its start, or, where that is 0, the end of the
/// Slurm job: SLURM_JOB_END_TIME (seconds since the epoch), corrected by squeue from time to time.
/// Reckoned on the monotonic clock, so that a clock that is set changes nothing. One rank's
/// deadline counts for all.
class Deadline {
 public:
  explicit Deadline(double max_minutes);
  /// Seconds left (negative when past), empty without a limit.
  [[nodiscard]] std::optional<double> seconds_left();
  /// What is kept of the limit for the last checkpoint: a twentieth, a minute at most.
  [[nodiscard]] double seconds_to_save() const;
  /// What limits the run, for the log: "run.max_minutes=30" or "the end of the Slurm job".
  [[nodiscard]] std::string name() const;
  /// What is odd about the job's end; empty where nothing is.
  [[nodiscard]] const std::string& warning() const noexcept { return warning_; }

 private:
  using Clock = std::chrono::steady_clock;
  void correct();
  Clock::time_point start_, asked_;
  std::optional<double> limit_;  ///< seconds after start_
  double max_minutes_ = 0;
  SlurmQuestion question_;
  std::string warning_;
};

}  // namespace th::runtime
