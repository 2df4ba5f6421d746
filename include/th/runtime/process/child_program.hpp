#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "th/base/file_descriptor.hpp"

namespace th::runtime {

/// A program that was started in a process group of its own, with an empty standard input and its
/// standard output in a pipe. If this object is destroyed before the program ends, the group is
/// killed.
class ChildProcess {
 public:
  enum class Errors { kShown, kDropped };
  /// `program` is a path, or a name that PATH finds. Throws InternalError "can't be started: …"
  /// with errno's text.
  ChildProcess(const std::string& program, const std::vector<std::string>& arguments,
               Errors errors);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  using Clock = std::chrono::steady_clock;
  /// Reads its output until that is closed; false if `end` comes first. If `end` is past, reads
  /// what is there.
  [[nodiscard]] bool read_until(Clock::time_point end);
  /// Waits until the program has ended; false if `end` comes first.
  [[nodiscard]] bool wait_until(Clock::time_point end);
  /// The first 64 KiB of what was read.
  [[nodiscard]] const std::string& output() const noexcept { return output_; }
  /// The status of waitpid, once wait_until() was true.
  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  FileDescriptor pipe_;
  pid_t child_ = 0;  ///< 0: it has ended
  std::string output_;
  int status_ = 0;
};

/// The result of a program that was run to its end.
struct ChildResult {
  enum class End { kExited, kSignalled, kTimedOut };
  End end = End::kExited;
  int code = 0;        ///< its exit code, or the signal's number
  std::string output;  ///< the first 64 KiB of its standard output
};

/// Runs a program in a process group of its own, with this process' standard error and an empty
/// standard input. Waits until it ends and its output is closed; after `seconds` the group is
/// killed. Throws InternalError "can't be started: …" with errno's text. Not collective.
[[nodiscard]] ChildResult run_program(const std::string& path,
                                      const std::vector<std::string>& arguments, double seconds);

}  // namespace th::runtime
