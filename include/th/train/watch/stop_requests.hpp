#pragma once

#include <chrono>
#include <span>
#include <string>

#include "th/config/run_config.hpp"
#include "th/runtime/observe/deadline.hpp"

namespace th::train {

/// What asks a run to stop with a checkpoint: a signal to any rank, and for rank 0 the time limit
/// and run.stop_file. Not collective: ranks compare their reasons.
class StopRequests {
 public:
  /// No reason; the numbers of signals lie between.
  static constexpr double kNone = 0, kTimeLimit = 1000, kStopFile = 1001;

  StopRequests(const config::RunSection& run, bool is_root);
  /// This rank's reason to stop before work that takes so many seconds: kNone, a signal's number,
  /// kTimeLimit or kStopFile.
  [[nodiscard]] double reason(double seconds_of_work);
  /// The reason in words, the same on every rank.
  [[nodiscard]] std::string text(double reason) const;
  /// The first of the ranks' reasons that is one, in words; empty: there is none.
  [[nodiscard]] std::string first_text(std::span<const double> reasons) const;
  /// What is odd about the time limit, for the log; empty where nothing is.
  [[nodiscard]] const std::string& warning() const noexcept { return deadline_.warning(); }

 private:
  [[nodiscard]] bool stop_file_is_there();
  using Clock = std::chrono::steady_clock;
  runtime::Deadline deadline_;
  std::string stop_file_;
  bool is_root_;
  Clock::time_point looked_;  ///< when the stop file was looked for: once a second
};

}  // namespace th::train
