#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "th/runtime/process/child_program.hpp"

namespace th::runtime {

/// Parses Slurm's text of the time that a job has left, and returns seconds: "1-02:03:04",
/// "02:03:04", "03:04". Empty for UNLIMITED, INVALID, NOT_SET and other text.
[[nodiscard]] std::optional<double> slurm_seconds(std::string_view text);

/// Asks Slurm, by `squeue`, how much time this job has left, without waiting for the answer. If
/// there is no job, no squeue or no answer within ten seconds, there is no answer and no message.
class SlurmQuestion {
 public:
  /// Starts squeue for this job, unless a question is under way.
  void ask();
  /// The seconds left, if an answer has come since the last call.
  [[nodiscard]] std::optional<double> answer();

 private:
  std::unique_ptr<ChildProcess> squeue_;  ///< null: no question is under way
  std::chrono::steady_clock::time_point start_;
};

/// When the run must end: run.max_minutes after its start or, if that is 0, at the end of the Slurm
/// job. That is SLURM_JOB_END_TIME (seconds since the epoch), corrected by squeue from time to
/// time. Times are on the monotonic clock, so setting the clock changes nothing. One rank's
/// deadline counts for all.
class Deadline {
 public:
  explicit Deadline(double max_minutes);
  /// Seconds left (negative when past), empty without a limit.
  [[nodiscard]] std::optional<double> seconds_left();
  /// The part of the limit that is reserved for the last checkpoint: a twentieth, a minute at most.
  [[nodiscard]] double seconds_to_save() const;
  /// What limits the run, for the log: "run.max_minutes=30" or "the end of the Slurm job".
  [[nodiscard]] std::string name() const;
  /// A warning about the job's end; empty if there is none.
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
