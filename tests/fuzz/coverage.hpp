#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace th::fuzz {

/// What the compiler's -fsanitize-coverage=trace-pc tells of a reading: how often each basic block
/// of the readers ran. Without that option nothing is ever new.
class Coverage {
 public:
  /// Forgets the reading before.
  static void begin() noexcept;
  /// Whether a block ran that never ran before, or one ran by a power of two more often.
  [[nodiscard]] bool is_new();
  /// Blocks, counted by their powers of two, that ran so far.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  std::vector<std::uint8_t> seen_ = std::vector<std::uint8_t>(kPlaces, 0);
  std::size_t size_ = 0;
  static constexpr std::size_t kPlaces = 1 << 16;
};

}  // namespace th::fuzz
