#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/report/files/checkpoint_list.hpp"
#include "app/report/files/deck_file.hpp"
#include "app/report/files/event_files.hpp"
#include "app/report/files/metrics_file.hpp"
#include "app/report/files/run_log.hpp"

namespace th::app {

/// What a run's folder tells.
struct RunData {
  std::string name;  ///< for tables and legends; unlike those of the other runs
  std::string path;  ///< as it was given
  std::string id, parent;
  MetricsFile metrics;
  EventFiles events;
  RunLog log;
  DeckFile deck;
  CheckpointList checkpoints;
  std::vector<Sample> test;  ///< the first lines of test.hyp
  std::int64_t test_lines = 0;
  std::vector<std::string> traces;  ///< trace.json, bad_step_*.json, flight_record.*.jsonl
  bool under_way = false;           ///< a process of this host holds the folder

  /// "completed", "stopped", …, "under way", or "no end recorded".
  [[nodiscard]] std::string end() const;
  /// Why, in a sentence; empty where nothing is to be said.
  [[nodiscard]] std::string reason() const;
  [[nodiscard]] std::int64_t ranks() const;  ///< 0: not known
  [[nodiscard]] std::string identity() const;
  /// Of the largest rank, bytes; 0 where it is not known.
  [[nodiscard]] double planned_bytes() const;
  [[nodiscard]] double measured_bytes() const;
};

/// Reads what th_app left in the folders; nothing is written, locked or changed there. Throws
/// DataError where a folder holds no run of th_app's, and DeckError where one is given twice.
[[nodiscard]] std::vector<RunData> read_runs(const std::vector<std::string>& paths);

}  // namespace th::app
