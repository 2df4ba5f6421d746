#include "th/monitor/progress_text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "th/monitor/header.hpp"

namespace th::monitor {

namespace {

constexpr long long kMinute = 60, kHour = 3600, kDay = 86400;

std::string numbers(const Standing& s) {
  return "loss " + fixed(s.loss, 4) + ", " + fixed(s.tokens_per_second, 0) + " tokens/s, " +
         bytes_text(s.memory_bytes) +
         (s.seconds_left ? ", " + time_text(*s.seconds_left) + " left" : std::string());
}

/// "20/100", or "20" where the epoch has no end.
std::string place_in_epoch(const Standing& s) {
  std::string place = std::to_string(s.step_in_epoch);
  if (s.steps_in_epoch > 0) place.append("/").append(std::to_string(s.steps_in_epoch));
  return place;
}

}  // namespace

std::string time_text(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::max(0.0, seconds)));
  std::array<char, 48> text{};
  if (whole < kMinute)
    std::snprintf(text.data(), text.size(), "%lld s", whole);
  else if (whole < kHour)
    std::snprintf(text.data(), text.size(), "%lld:%02lld min", whole / 60, whole % 60);
  else if (whole < kDay)
    std::snprintf(text.data(), text.size(), "%lld:%02lld:%02lld h", whole / 3600, whole / 60 % 60,
                  whole % 60);
  else
    std::snprintf(text.data(), text.size(), "%lld d %lld h", whole / 86400, whole / 3600 % 24);
  return text.data();
}

std::string progress_bar(const Standing& s) {
  constexpr int kWidth = 16;
  const bool known = s.last_step > 0;
  const double done = static_cast<double>(known ? s.step : s.step_in_epoch),
               all = static_cast<double>(known ? s.last_step : s.steps_in_epoch);
  std::string bar;
  if (all > 0) {
    const double share = std::clamp(done / all, 0.0, 1.0);
    const int filled = static_cast<int>(share * kWidth);
    bar.append("[").append(static_cast<std::size_t>(filled), '#');
    bar.append(static_cast<std::size_t>(kWidth - filled), '-').append("] ");
    bar.append(fixed(std::floor(100 * share), 0)).append(" % ");
  }
  return bar + "epoch " + std::to_string(s.epoch) + ", step " + place_in_epoch(s) + ", " +
         numbers(s);
}

std::string progress_line(const Standing& s) {
  return "Step " + std::to_string(s.step) + " (epoch " + std::to_string(s.epoch) + ", " +
         place_in_epoch(s) + "): " + numbers(s);
}

bool LinePace::due(std::int64_t step, double now, double step_seconds) {
  if (!last_) last_ = now;
  // The next step would end later than a minute after the last line.
  const bool is_due =
      every_ > 0 ? step % every_ == 0
                 : now - *last_ + std::max(0.0, step_seconds) >= static_cast<double>(kMinute);
  if (is_due) last_ = now;
  return is_due;
}

}  // namespace th::monitor
