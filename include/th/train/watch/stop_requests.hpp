#pragma once

#include <chrono>
#include <span>
#include <string>

#include "th/config/run_config.hpp"
#include "th/runtime/observe/deadline.hpp"

namespace th::train {

/// The requests to stop a run with a checkpoint: a signal to any rank, and for rank 0 the time
/// limit and run.stop_file. Not collective; the ranks compare their reasons.
class StopRequests {
 public:
  /// kNone is no reason. Numbers of signals lie between these values.
  static constexpr double kNone = 0, kTimeLimit = 1000, kStopFile = 1001;

  StopRequests(const config::RunSection& run, bool is_root);
  /// This rank's reason to stop before work that takes so many seconds: kNone, a signal's number,
  /// kTimeLimit or kStopFile.
  [[nodiscard]] double reason(double seconds_of_work);
  /// The reason in words, the same on every rank.
  [[nodiscard]] std::string text(double reason) const;
  /// The first reason that a rank has, in words; empty if no rank has one.
  [[nodiscard]] std::string first_text(std::span<const double> reasons) const;
  /// A warning about the time limit for the log; empty if there is none.
  [[nodiscard]] const std::string& warning() const noexcept { return deadline_.warning(); }

 private:
  [[nodiscard]] bool stop_file_is_there();
  using Clock = std::chrono::steady_clock;
  runtime::Deadline deadline_;
  std::string stop_file_;
  bool is_root_;
  Clock::time_point looked_;  ///< when the stop file was last looked for, which is once a second
};

}  // namespace th::train
