#pragma once

#include <cstdint>

namespace th::io {

/// A testing aid: every step of a save passes a failure point, and the armed one fails there, so
/// that tests can show that no moment of a save loses a run. Not armed, a point costs one load of
/// an atomic. One counter for the process, because a save runs through free functions and a thread
/// of its own.
class FailurePoint {
 public:
  enum class Action {
    kThrow,  ///< CheckpointError, as if the system call there had failed
    kKill,   ///< SIGKILL to this process
  };
  /// The nth point passed from now on (from 1) fails.
  static void arm(std::int64_t nth, Action action) noexcept;
  static void disarm() noexcept;
  /// Points passed since arm().
  [[nodiscard]] static std::int64_t passed() noexcept;
  /// Arms by `text`, the value of TH_FAIL_SAVE: "N[:kill][@RANK]", for RANK (default 0) alone. Null
  /// or empty: nothing. Throws DeckError where it can't be read.
  static void arm_from(const char* text, std::int64_t rank);
  /// Any thread. Throws CheckpointError with `place` where it is armed.
  static void pass(const char* place);
};

}  // namespace th::io
