#include "th/runtime/observe/deadline.hpp"

#include "th/base/error.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <vector>

namespace th::runtime {

namespace {

using Seconds = std::chrono::duration<double>;

std::optional<double> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

const char* job() {
  const char* id = std::getenv("SLURM_JOB_ID");
  return id != nullptr && *id != '\0' ? id : nullptr;
}

}  // namespace

std::optional<double> slurm_seconds(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  double days = 0, rest = 0;
  if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) {
    const auto value = number(text.substr(0, dash));
    if (!value) return std::nullopt;
    days = *value;
    text.remove_prefix(dash + 1);
  }
  int parts = 0;
  for (bool more = true; more; ++parts) {
    const std::size_t colon = std::min(text.find(':'), text.size());
    const auto value = number(text.substr(0, colon));
    if (!value) return std::nullopt;
    rest = rest * 60 + *value;
    more = colon < text.size();
    text.remove_prefix(std::min(colon + 1, text.size()));
  }
  if (parts < 2 || parts > 3) return std::nullopt;  // without a colon it is no time
  return days * 86400 + rest;
}

void SlurmQuestion::ask() {
  const char* id = job();
  if (squeue_ || id == nullptr) return;
  start_ = std::chrono::steady_clock::now();
  try {
    squeue_ = std::make_unique<ChildProcess>("squeue",
                                             std::vector<std::string>{"-h", "-j", id, "-o", "%L"},
                                             ChildProcess::Errors::kDropped);
  } catch (const InternalError&) {  // there is no squeue here
  }
}

std::optional<double> SlurmQuestion::answer() {
  constexpr Seconds kPatience(10);
  if (!squeue_) return std::nullopt;
  const auto now = std::chrono::steady_clock::now();
  std::optional<double> seconds;
  const bool closed = squeue_->read_until(now);
  if (closed) seconds = slurm_seconds(squeue_->output());
  if (closed || now - start_ > kPatience) squeue_.reset();
  return seconds;
}

Deadline::Deadline(double max_minutes) : start_(Clock::now()), max_minutes_(max_minutes) {
  if (max_minutes > 0) {
    limit_ = 60.0 * max_minutes;
    return;
  }
  const char* text = std::getenv("SLURM_JOB_END_TIME");
  if (text == nullptr) return;
  char* rest = nullptr;
  const double end = std::strtod(text, &rest);
  if (rest == text || *rest != '\0' || !(end > 0)) return;
  const double left = end - Seconds(std::chrono::system_clock::now().time_since_epoch()).count();
  if (left > 0) {
    limit_ = left;
    question_.ask();
    asked_ = start_;
  } else {
    warning_ =
        "SLURM_JOB_END_TIME is past: it belongs to a job that has ended or was extended, so it "
        "does not limit this run; run.max_minutes sets a limit";
  }
}

void Deadline::correct() {
  if (max_minutes_ > 0 || !limit_) return;
  const Clock::time_point now = Clock::now();
  if (const auto left = question_.answer()) limit_ = Seconds(now - start_).count() + *left;
  // Once in five minutes, and in each of the last ten.
  const double left = *limit_ - Seconds(now - start_).count();
  if (now - asked_ < Seconds(left < 600 ? 60 : 300)) return;
  asked_ = now;
  question_.ask();
}

std::optional<double> Deadline::seconds_left() {
  correct();
  if (!limit_) return std::nullopt;
  return *limit_ - Seconds(Clock::now() - start_).count();
}

double Deadline::seconds_to_save() const {
  return limit_ ? std::clamp(0.05 * *limit_, 0.0, 60.0) : 0;
}

std::string Deadline::name() const {
  if (max_minutes_ <= 0) return "the end of the Slurm job";
  std::string minutes = std::to_string(max_minutes_);
  minutes.erase(minutes.find_last_not_of('0') + 1);
  if (minutes.ends_with('.')) minutes.pop_back();
  return "run.max_minutes=" + minutes;
}

}  // namespace th::runtime
