#include "th/train/watch/stop_requests.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "th/runtime/observe/signals.hpp"

namespace th::train {

StopRequests::StopRequests(const config::RunSection& run, bool is_root)
    : deadline_(run.max_minutes), stop_file_(run.stop_file), is_root_(is_root) {}

bool StopRequests::stop_file_is_there() {
  const Clock::time_point now = Clock::now();
  if (stop_file_.empty() || now - looked_ < std::chrono::seconds(1)) return false;
  looked_ = now;
  std::error_code ignored;
  return std::filesystem::exists(stop_file_, ignored);
}

double StopRequests::reason(double seconds_of_work) {
  if (const int number = runtime::StopSignals::stop_requested(); number != 0) return number;
  if (!is_root_) return kNone;
  const auto left = deadline_.seconds_left();
  if (left && *left < deadline_.seconds_to_save() + seconds_of_work) return kTimeLimit;
  return stop_file_is_there() ? kStopFile : kNone;
}

std::string StopRequests::text(double reason) const {
  if (reason == kTimeLimit) return "the time limit is near (" + deadline_.name() + ")";
  if (reason == kStopFile) return "the stop file " + stop_file_ + " is there";
  return runtime::StopSignals::name(static_cast<int>(reason)) + " was received";
}

std::string StopRequests::first_text(std::span<const double> reasons) const {
  const auto found =
      std::find_if(reasons.begin(), reasons.end(), [](double reason) { return reason != kNone; });
  return found == reasons.end() ? "" : text(*found);
}

}  // namespace th::train
