#pragma once

#include <memory>
#include <string>

namespace th {

/// Messages of one rank. Rank 0 prints to stdout; other ranks only warnings and errors, on stderr
/// as `[rank r host]`.
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

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace th
