#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace th::monitor {

/// Where a run stands, for people.
struct Standing {
  std::int64_t step = 0, epoch = 0;
  std::int64_t step_in_epoch = 0, steps_in_epoch = 0;  ///< the second 0: epochs have no end
  std::int64_t last_step = 0;                          ///< of the run, as far as is known; 0: not
  double loss = 0;
  double tokens_per_second = 0;
  std::int64_t memory_bytes = 0;
  std::optional<double> seconds_left;  ///< until last_step
};

/// "45 s", "12:05 min", "1:23:45 h", "3 d 4 h".
[[nodiscard]] std::string time_text(double seconds);
/// Of the terminal: a bar over the run's steps (else the epoch's) and its numbers, on one line.
[[nodiscard]] std::string progress_bar(const Standing& standing);
/// Of the log: "Step 120 (epoch 1, 20/100): loss 3.1234, 5678 tokens/s, 512.00 MiB, 12:05 min
/// left".
[[nodiscard]] std::string progress_line(const Standing& standing);

/// When the log gets a progress line: each so many steps, or so often that a line that is due is
/// never later than a minute after the one before.
class LinePace {
 public:
  /// `every`: steps, 0: by time.
  explicit LinePace(std::int64_t every) : every_(every) {}
  /// Whether a line is due after this step, at `now` seconds of any clock, where steps take about
  /// `step_seconds`. A line that is due counts as written.
  [[nodiscard]] bool due(std::int64_t step, double now, double step_seconds);
  /// Another line told where the run stands, at `now`.
  void told(double now) { last_ = now; }

 private:
  std::int64_t every_;
  std::optional<double> last_;
};

}  // namespace th::monitor
