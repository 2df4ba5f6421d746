#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace th::app {

/// A class of memory of a rank, as a line of the log has it; bytes, rounded there.
struct MemoryClassBytes {
  std::string name;
  double planned = 0, measured = 0;
};

/// A translation of the last validation that showed some.
struct Sample {
  std::string source, reference, hypothesis;
};

/// What run.log says. Lines are without their time; empty texts were not found.
struct RunLog {
  std::string begin, end;  ///< the times of the first and the last line
  std::string identity, parameters, zero, dataset, vocabulary, overlap;
  std::string stopping, final_choice;      ///< "Stopping after …", "The run gives …"
  std::vector<std::string> continuations;  ///< resumes and branches, with their times
  std::vector<std::string> traces;         ///< what a profile said in a line
  std::vector<MemoryClassBytes> memory;    ///< of the last comparison; "total" first
  std::vector<Sample> samples;
  std::vector<std::string> warnings;  ///< the last ones, with their times
  std::int64_t warning_count = 0;
  std::string error;  ///< the last one; empty where the run went on after it
};

/// Reads it once, in flat memory; a file that is missing gives an empty log. Throws DataError where
/// it can't be read.
[[nodiscard]] RunLog read_run_log(const std::string& path);

}  // namespace th::app
