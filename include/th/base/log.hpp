#pragma once

#include <memory>
#include <string>
#include <vector>

namespace th {

/// "[rank 3 node7] ", with which a line of a rank other than 0 begins.
[[nodiscard]] std::string rank_prefix(int rank, const std::string& host);
/// Writes a line with that prefix to stderr, past the log: what the other ranks do not know of.
void tell_of_rank(int rank, const std::string& host, const std::string& text);

/// Messages of one rank. Rank 0 prints to stdout. Other ranks print only warnings and errors, on
/// stderr as `[rank r host]`. Threads may warn at the same time.
class Log {
 public:
  Log(int rank, const std::string& host);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void info(const std::string& message);
  void warn(const std::string& message);
  void error(const std::string& message);
  /// From now on every printed message is also appended to `path`. Throws th::Error when it cannot
  /// be opened.
  void open_file(const std::string& path);
  /// From now on a rank other than 0 keeps its warnings until they are taken, so that rank 0 can
  /// print those that several ranks have once. The destructor prints warnings that nobody took.
  void hold_warnings();
  /// Whether there are warnings to take.
  [[nodiscard]] bool holds() const;
  [[nodiscard]] std::vector<std::string> take_warnings();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace th
