#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "th/base/file_descriptor.hpp"

namespace th::runtime {

/// A program that was started: in a group of processes of its own, with nothing to read and its
/// standard output in a pipe. The group is killed where this goes away before its end.
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
  /// Takes its output until that is closed; false where the time is over before. A time that is
  /// past takes what is there.
  [[nodiscard]] bool read_until(Clock::time_point end);
  /// Waits until it has ended; false where the time is over before.
  [[nodiscard]] bool wait_until(Clock::time_point end);
  /// The first 64 KiB of what was taken.
  [[nodiscard]] const std::string& output() const noexcept { return output_; }
  /// waitpid's, once wait_until() is true.
  [[nodiscard]] int status() const noexcept { return status_; }

 private:
  FileDescriptor pipe_;
  pid_t child_ = 0;  ///< 0: it was waited for
  std::string output_;
  int status_ = 0;
};

/// What a program did that was started and waited for.
struct ChildResult {
  enum class End { kExited, kSignalled, kTimedOut };
  End end = End::kExited;
  int code = 0;        ///< its exit code, or the signal's number
  std::string output;  ///< the first 64 KiB of its standard output
};

/// Runs a program in a group of processes of its own, with this one's standard error and nothing to
/// read, and waits until it ends and its output is closed; after `seconds` the group is killed.
/// Throws InternalError "can't be started: …" with errno's text. Not collective.
[[nodiscard]] ChildResult run_program(const std::string& path,
                                      const std::vector<std::string>& arguments, double seconds);

}  // namespace th::runtime
