#pragma once

#include <sys/types.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "th/runtime/observe/activity.hpp"

// What the ranks of a node show each other in the watchdog's shared memory.
namespace th::runtime::watchdog {

/// A text that one process writes while others read: a torn read shows a mixed word, never one past
/// its end.
template <std::size_t N>
struct SharedText {
  std::array<std::atomic<char>, N> letters;
  void set(std::string_view text) noexcept {
    const std::size_t count = std::min(text.size(), N - 1);
    for (std::size_t i = 0; i < count; ++i) letters[i].store(text[i], std::memory_order_relaxed);
    letters[count].store('\0', std::memory_order_release);
  }
  [[nodiscard]] std::string get() const {
    std::string text;
    for (std::size_t i = 0; i + 1 < N; ++i) {
      const char c = letters[i].load(std::memory_order_relaxed);
      if (c == '\0') break;
      text += c;
    }
    return text;
  }
};
static_assert(std::atomic<char>::is_always_lock_free);

/// One rank's row; all zero before the rank comes. Times in nanoseconds of the node's monotonic
/// clock.
struct Row {
  std::atomic<std::int64_t> present, finished, rank, pid, pid_space, sequence, step, waiting, since,
      alone_since, heartbeat, ending, dumped;
  SharedText<32> phase, call, alone_in;
  SharedText<64> host;
  Activity activity;

  /// How long it has waited for itself alone; 0: it does not.
  [[nodiscard]] std::int64_t alone(std::int64_t now) const noexcept {
    const std::int64_t begin = alone_since.load();
    return begin == 0 ? 0 : now - begin;
  }
};

/// The state that /proc tells of a process, as "T (stopped)"; empty: there is no such process, or
/// its parent has only not asked for its exit code yet.
[[nodiscard]] std::string process_state(pid_t pid);

/// The number of this process' pid namespace; 0: not known. A pid of another one names another
/// process here.
[[nodiscard]] std::int64_t pid_space();

/// "rank R host H pid P phase F step S, ACTIVITY, state T (stopped)\n".
[[nodiscard]] std::string line_of(const Row& row, std::span<const std::string> unit_names,
                                  std::int64_t now);

}  // namespace th::runtime::watchdog
