#pragma once

#include <cstddef>
#include <cstdio>
#include <string>

namespace th::monitor {

/// Whether the output of this process goes to a terminal. On the node where mpirun runs it also
/// looks at mpirun's output.
[[nodiscard]] bool launcher_on_terminal();

/// A line on a terminal that is updated in place. If the output is a file or a pipe, or the deck
/// forbids it, nothing is printed.
class Progress {
 public:
  /// `allowed`: what the deck says. The caller keeps owning `stream`.
  explicit Progress(bool allowed, std::FILE* stream = stdout);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Whether lines are shown at all; if not, the caller need not make them.
  [[nodiscard]] bool active() const noexcept { return active_; }
  /// Shows `line` in place of the line before, cut to the width of the terminal.
  void show(const std::string& line);
  /// Wipes the line, so that a message can be printed.
  void clear();

 private:
  std::FILE* stream_;
  bool active_;
  std::size_t shown_ = 0;
};

}  // namespace th::monitor
