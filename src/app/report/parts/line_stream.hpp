#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace th::app {

/// The lines of a file of any size, in flat memory: a run may still write to it, and a crash may
/// have left zero bytes or half a line at its end.
class LineStream {
 public:
  /// A longer line is given in part.
  static constexpr std::size_t kLongest = std::size_t{16} << 20;
  /// Throws DataError with the system's reason where the file can't be opened.
  explicit LineStream(const std::string& path);

  /// False at the end; the line, without its newline, is valid until the next call.
  [[nodiscard]] bool next(std::string_view& line);
  /// Of the line that next() gave last, from 1.
  [[nodiscard]] std::int64_t number() const noexcept { return number_; }
  /// Whether that line has no newline: the write of it was cut, or is not done yet.
  [[nodiscard]] bool torn() const noexcept { return torn_; }

 private:
  [[nodiscard]] bool more();
  void skip_line();

  std::ifstream file_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  std::int64_t number_ = 0;
  bool torn_ = false, skips_ = false;
};

}  // namespace th::app
