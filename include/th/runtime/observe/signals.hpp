#pragma once

#include <optional>

namespace th::runtime {

/// Signals as requests. SIGTERM, SIGUSR1, SIGINT: stop with a checkpoint; a second SIGINT ends the
/// process at once. SIGUSR2: checkpoint.
class StopSignals {
 public:
  /// Installs the handlers: first in main, before MPI_Init and LibTorch.
  static void install();
  /// The first stop signal's number, 0 while there is none.
  [[nodiscard]] static int stop_requested() noexcept;
  /// Whether SIGUSR2 came since the last call.
  [[nodiscard]] static bool take_checkpoint_request() noexcept;
};

/// When the run must end: run.max_minutes, or SLURM_JOB_END_TIME (epoch seconds) when that is 0.
class Deadline {
 public:
  explicit Deadline(double max_minutes);
  /// Seconds left (negative when past), empty without a limit.
  [[nodiscard]] std::optional<double> seconds_left() const;
  /// What is kept of the limit for the last checkpoint: a twentieth, a minute at most.
  [[nodiscard]] double seconds_to_save() const;

 private:
  std::optional<double> end_;  // seconds since the epoch
  double start_ = 0;
};

}  // namespace th::runtime
