#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

namespace th::monitor {

/// Whether what this process prints ends on a terminal: also looks through mpirun, on the node
/// where it runs.
[[nodiscard]] bool launcher_on_terminal();

/// One line on a terminal that is written over by the next. On a file or a pipe, or when the deck
/// forbids it, it prints nothing.
class Progress {
 public:
  /// `allowed`: what the deck says; `stream` stays the caller's.
  explicit Progress(bool allowed, std::FILE* stream = stdout);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Whether lines are shown at all: then building them is worth the time.
  [[nodiscard]] bool active() const noexcept { return active_; }
  /// Shows `line` in place of the line before, as much of it as the terminal is wide.
  void show(const std::string& line);
  /// Wipes the line, so that a message can be printed.
  void clear();

 private:
  std::FILE* stream_;
  bool active_;
  std::size_t shown_ = 0;
};

}  // namespace th::monitor
