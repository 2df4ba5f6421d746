#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/stream/chunk.hpp"
#include "app/stream/journal.hpp"
#include "app/stream/output_file.hpp"
#include "th/monitor/progress.hpp"

namespace th::app {

/// What stays of a chunk with the rank that writes, while another translates it.
struct ChunkNote {
  std::int64_t lines = 0;
  std::uint64_t input_hash = 0;
  std::int64_t input_bytes = 0;
  std::vector<std::string> faults;
};
[[nodiscard]] ChunkNote note_of(const Chunk& chunk);

/// Says how many lines were invalid, where there are any; the exit code of a job whose lines are
/// all written.
[[nodiscard]] int told_invalid_lines(const JobProgress& progress);

/// Writes results in the order of the input, keeps the journal, and tells of progress and of lines
/// that were not translated as they are. Of rank 0 alone.
class ChunkWriter {
 public:
  struct Plan {
    std::string output;                   ///< a path; empty: standard output
    std::optional<JobIdentity> identity;  ///< with a journal
    bool anew = false;                    ///< whatever the journal tells of
    std::string cut_to;                   ///< "the 100 positions that the model learned (…)"
    std::int64_t input_bytes = 0;         ///< of a plain file; 0: not known
    /// What is said of lines with fewer hypotheses than were asked for, and of all; may be empty.
    std::function<std::string(std::int64_t fewer, std::int64_t sentences)> fewer_text;
  };
  explicit ChunkWriter(const Plan& plan);

  /// How far an earlier job was.
  [[nodiscard]] const JobProgress& progress() const noexcept { return progress_; }
  /// The next chunk. Throws DataError where it can't be written, OutputClosed.
  void write(const ChunkNote& note, const ChunkResult& result);
  /// Nothing more will come. `stopped`: before the end, and the journal stays. Tells of lines that
  /// were cut or are no text, and where the output is a file of lines, tokens and time; the job's
  /// exit code.
  [[nodiscard]] int finish(bool stopped);
  /// What has to be said is said past the line of progress.
  void tell(const std::string& message);

 private:
  using Clock = std::chrono::steady_clock;
  /// Tells of invalid lines, and counts them.
  void tell_of(const std::vector<std::string>& faults);
  void show_progress(const ChunkNote& note);
  [[nodiscard]] std::string rate_text(const ChunkNote& note) const;
  /// "o: 200 lines, … in 3.1 s (…)".
  [[nodiscard]] std::string summary_text() const;
  void record(Clock::duration at_least);

  Plan plan_;
  std::optional<Journal> journal_;  // is there before the output is
  OutputFile output_;
  JobProgress progress_;
  std::int64_t first_lines_ = 0;   ///< of an earlier job
  std::int64_t told_ = 0;          ///< lines with faults that were told
  std::vector<std::int64_t> cut_;  ///< the first lines that were cut
  /// Of this job, as in ChunkResult.
  std::int64_t sentences_ = 0, fewer_ = 0, source_tokens_ = 0, target_tokens_ = 0;
  th::monitor::Progress terminal_;
  Clock::time_point begun_ = Clock::now(), shown_ = begun_, recorded_ = begun_;
};

}  // namespace th::app
