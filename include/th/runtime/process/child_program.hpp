#pragma once

#include <string>
#include <vector>

namespace th::runtime {

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
