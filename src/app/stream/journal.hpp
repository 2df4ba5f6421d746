#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/stream/output_file.hpp"
#include "th/base/file_descriptor.hpp"

namespace th::app {

/// What a job's result depends on, a text each: the same job goes on, another is refused.
struct JobIdentity {
  std::string input;    ///< "BYTES bytes, CRC-32C X" of a file, "a stream"
  std::string model;    ///< checkpoints' parameters and tokenizers
  std::string options;  ///< all that the output's bytes depend on
  /// Instruction set and library of products. Another one is no reason to refuse, and told.
  std::string arithmetic;
  bool streams = false;  ///< some of the input comes through a pipe and can't be known before
};

/// How far a job is: lines whose output is written.
struct JobProgress {
  std::int64_t lines = 0, invalid = 0, cut = 0;
  std::uint64_t input_hash = 0;
  std::int64_t output_bytes = 0;
  std::uint32_t output_crc = 0;
};

/// What the job of this identity wrote, where it was finished: F.done is of the same job, and F has
/// the bytes that it tells of. Empty where there is no such F.done, no F, and where F.journal tells
/// of a job on its way. Throws DeckError where F has other bytes.
[[nodiscard]] std::optional<JobProgress> finished_before(const std::string& output,
                                                         const JobIdentity& identity);

/// Whether a file of this name would be the journal or the record of another output.
[[nodiscard]] bool is_record_name(const std::string& output);
/// Throws DeckError where the output is a file with text that neither F.journal nor F.done tells
/// of.
void require_free(const std::string& output);

/// The file F.journal beside an output F: a line for the job, then a line for each time that
/// something was written. A job that was killed reads it, cuts F behind the last line that agrees
/// with F's own bytes, and goes on. When the job is finished, the line of the job and a line for
/// all that was written stand in F.done. Of rank 0 alone.
class Journal {
 public:
  /// Opens the journal or makes one, and keeps it from others as long as it lives. Throws DeckError
  /// for that of another job, naming what differs, where F.done is no journal's, and where another
  /// process writes F; DataError where it can't be read or written. `anew`: what the journal and
  /// F.done tell of is forgotten.
  Journal(const std::string& output, const JobIdentity& identity, bool anew);

  /// Where the job goes on: cuts `output`, and the journal's lines of what was lost. Throws
  /// DeckError where the output is not what the journal tells of.
  [[nodiscard]] JobProgress go_on(OutputFile& output);
  void add(const JobProgress& progress);
  /// What has to be said of a job that goes on; empty for nothing.
  [[nodiscard]] const std::string& warning() const noexcept { return warning_; }
  /// The job is done: F.done takes the journal's place, or nothing does where the input is a pipe.
  void finish(const JobProgress& progress);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  struct Record {
    JobProgress progress;
    std::int64_t end = 0;  ///< bytes of the journal up to its end
  };
  static void append(const FileDescriptor& file, const std::string& path, const std::string& lines);
  void cut(std::int64_t bytes);
  void read(const JobIdentity& identity);
  void compare(const JobIdentity& kept, const JobIdentity& asked);

  std::string path_, done_, warning_;
  JobIdentity job_;
  FileDescriptor file_;
  std::vector<Record> records_;
  std::int64_t head_ = 0;  ///< bytes of the first line
};

}  // namespace th::app
