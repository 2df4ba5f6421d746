#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace th::monitor {

/// How far a run is, for people.
struct Standing {
  std::int64_t step = 0, epoch = 0;
  std::int64_t step_in_epoch = 0, steps_in_epoch = 0;  ///< steps_in_epoch 0: epochs have no end
  std::int64_t last_step = 0;                          ///< of the run; 0: not known
  double loss = 0;
  double tokens_per_second = 0;
  std::int64_t memory_bytes = 0;
  std::optional<double> seconds_left;  ///< until last_step
};

/// "45 s", "12:05 min", "1:23:45 h", "3 d 4 h".
[[nodiscard]] std::string time_text(double seconds);
/// The line on a terminal: a bar over the run's steps (or the epoch's, if their number is not
/// known) and the numbers.
[[nodiscard]] std::string progress_bar(const Standing& standing);
/// The line in the log: "Step 120 (epoch 1, 20/100): loss 3.1234, 5678 tokens/s, 512.00 MiB, 12:05
/// min left".
[[nodiscard]] std::string progress_line(const Standing& standing);

/// When the log gets a progress line: every so many steps, or so often that there is never more
/// than a minute between two lines, if steps are shorter than that.
class LinePace {
 public:
  /// `every`: steps, 0: by time.
  explicit LinePace(std::int64_t every) : every_(every) {}
  /// Whether a line is due after this step. `now` is the time in seconds on any clock, and steps
  /// take about `step_seconds`. A line that is due counts as written.
  [[nodiscard]] bool due(std::int64_t step, double now, double step_seconds);
  /// Another line has said at `now` how far the run is.
  void told(double now) { last_ = now; }

 private:
  std::int64_t every_;
  std::optional<double> last_;
};

}  // namespace th::monitor
