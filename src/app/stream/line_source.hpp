#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "app/stream/chunk.hpp"
#include "th/base/hash.hpp"
#include "th/data/text.hpp"

namespace th::app {

/// Bytes of the longest line that is translated.
inline constexpr std::int64_t kLongestLine = 1 << 20;

/// The lines of standard input, a pipe or a file (.gz too), one after the other, in memory for one
/// line, whatever lies there. A line that is no text (UTF-8), holds a zero byte or is longer than
/// kLongestLine is told by its fault, and reading goes on behind it.
class LineSource {
 public:
  /// Whether reading goes on.
  using Paused = std::function<bool()>;
  /// `path` empty: standard input. `paused` is called whenever a pipe or a terminal has brought
  /// nothing for 100 ms. Throws DataError for a file that can't be read.
  LineSource(const std::string& path, Paused paused);
  ~LineSource();
  LineSource(const LineSource&) = delete;
  LineSource& operator=(const LineSource&) = delete;

  /// False at the end, where `paused` said so, and where a stop signal came while a pipe was waited
  /// for. Throws DataError
  /// where reading fails, and for a text whose line ends are CR alone.
  [[nodiscard]] bool next(std::string& text, std::string& fault);
  /// "standard input", or the path.
  [[nodiscard]] const std::string& name() const noexcept;

 private:
  class Bytes;
  std::unique_ptr<Bytes> bytes_;
  TextHash hash_;
  th::data::LineReader reader_;
};

}  // namespace th::app
