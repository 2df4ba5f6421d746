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
  std::string input;    ///< "BYTES bytes, CRC-32C X" of a file, "a pipe"
  std::string model;    ///< checkpoints' parameters and tokenizers
  std::string options;  ///< all that the output's bytes depend on
};

/// How far a job is: lines whose output is written.
struct JobProgress {
  std::int64_t lines = 0, invalid = 0, cut = 0;
  std::uint64_t input_hash = 0;
  std::int64_t output_bytes = 0;
  std::uint32_t output_crc = 0;
};

/// The file F.journal beside an output F: a line for the job, then a line for each time that
/// something was written. A job that was killed reads it, cuts F behind the last line that agrees
/// with F's own bytes, and goes on. Of rank 0 alone.
class Journal {
 public:
  /// Opens the journal or makes one, and keeps it from others as long as it lives. Throws DeckError
  /// for that of another job, naming what differs, and where another process writes F; DataError
  /// where it can't be read or written.
  Journal(const std::string& output, const JobIdentity& identity);

  /// Where the job goes on: cuts `output`, and the journal's lines of what was lost. Throws
  /// DeckError where the output is not what the journal tells of.
  [[nodiscard]] JobProgress go_on(OutputFile& output);
  void add(const JobProgress& progress);
  /// The job is done: the file goes.
  void remove();
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  struct Record {
    JobProgress progress;
    std::int64_t end = 0;  ///< bytes of the journal up to its end
  };
  void append(const std::string& line);
  void cut(std::int64_t bytes);
  void read(const JobIdentity& identity);
  void compare(const JobIdentity& kept, const JobIdentity& asked) const;

  std::string path_;
  FileDescriptor file_;
  std::vector<Record> records_;
  std::int64_t head_ = 0;  ///< bytes of the first line
};

}  // namespace th::app
