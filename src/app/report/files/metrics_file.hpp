#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "app/report/parts/series.hpp"

namespace th::app {

/// The summary record of a run's end. Vectors have one entry a rank, in bytes; those that an older
/// program did not write are empty.
struct RunSummary {
  std::int64_t steps = 0;
  std::optional<double> tokens_per_second, padding_fraction;
  std::vector<std::int64_t> planned_bytes, measured_bytes, model_state_bytes, peak_rss_bytes,
      bytes_sent;
  std::string run, exit, reason;
};

struct TestScore {
  std::string metric, signature;
  std::int64_t step = 0;
  double value = 0;
};

/// What metrics.jsonl says. Curves are over the step.
struct MetricsFile {
  Series loss, grad_norm, lr, rate, loss_scale;  ///< rate: source and target tokens a second
  Series epoch_loss, valid_loss;
  std::map<std::string, Series> valid_scores;     ///< by metric
  std::map<std::string, std::string> signatures;  ///< of the validation's scores, by metric
  std::vector<TestScore> test_scores;             ///< the last of each metric
  std::optional<RunSummary> summary;              ///< only where no step record follows it
  std::int64_t steps = 0, last_step = 0;          ///< records of steps, and the last one's step
  std::int64_t epochs = 0;                        ///< records of epochs
  std::int64_t skipped = 0;                       ///< steps that updated nothing
  double tokens = 0, step_seconds = 0;            ///< of all steps
  double epoch_end_seconds = 0;                   ///< of epochs without their steps
  std::int64_t damaged = 0, first_damaged = 0;    ///< lines that are no records; the first one
  bool torn = false;                              ///< the last line was not written whole
  /// Tokens a second: the summary's, else the mean of the steps; 0 without either.
  [[nodiscard]] double mean_rate() const;
};

/// Reads it once, in memory that does not grow with the file. Throws DataError where it can't be
/// read; lines that are no records are counted.
[[nodiscard]] MetricsFile read_metrics(const std::string& path);

}  // namespace th::app
