#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace th::monitor {

/// One event file of TensorBoard: scalars and texts over steps. Not collective: rank 0 owns it.
class TensorboardWriter {
 public:
  /// Makes `folder` if it is missing and starts events.out.tfevents.<time>.<host>.<pid> in it.
  /// Points of earlier files at `first_step` and later become void, because the run was resumed
  /// there. Throws DeckError if the file cannot be written.
  TensorboardWriter(const std::string& folder, std::int64_t first_step);
  /// Adds one point of the curve `tag` (written as a 32-bit float). Throws DeckError when the file
  /// cannot be written.
  void scalar(const std::string& tag, double value, std::int64_t step);
  /// Adds a text (Markdown) of `tag`, for TensorBoard's text tab. Throws DeckError when the file
  /// cannot be written.
  void text(const std::string& tag, const std::string& text, std::int64_t step);
  /// Gives what was added to the system. Throws DeckError if it cannot be written.
  void flush();
  /// The event file's path.
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  void summary(const std::string& value, std::int64_t step);
  void record(const std::string& event);
  std::string path_;
  std::ofstream file_;
};

}  // namespace th::monitor
