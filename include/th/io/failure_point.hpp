#pragma once

#include <cstdint>

namespace th::io {

/// A testing aid: every step of a save passes a failure point, and the armed point fails, so that
/// tests can show that a failure at any moment of a save loses no run. While nothing is armed, a
/// point costs one load of an atomic. There is one counter for the process, because a save runs
/// through free functions and a thread of its own.
class FailurePoint {
 public:
  enum class Action {
    kThrow,  ///< CheckpointError, as if the system call there had failed
    kKill,   ///< SIGKILL to this process
  };
  /// The nth point passed from now on (from 1) fails.
  static void arm(std::int64_t nth, Action action) noexcept;
  static void disarm() noexcept;
  /// The number of points passed since arm().
  [[nodiscard]] static std::int64_t passed() noexcept;
  /// Arms by `text`, the value of TH_FAIL_SAVE: "N[:kill][@RANK]", for RANK (default 0) alone. Null
  /// or empty text arms nothing. Throws DeckError where the text can't be read.
  static void arm_from(const char* text, std::int64_t rank);
  /// Passes a point; any thread may call it. If this point is the armed one, throws CheckpointError
  /// with `place`, or kills the process.
  static void pass(const char* place);
};

}  // namespace th::io
