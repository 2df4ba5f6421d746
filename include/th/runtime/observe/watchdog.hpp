#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "th/runtime/observe/activity.hpp"

namespace th::runtime {

struct WatchdogOptions {
  /// The same on all ranks of the run, different for each run: rank 0 makes it
  /// (make_watchdog_token).
  std::string token;
  int rank = 0, local_rank = 0, local_size = 1;  ///< local: among the ranks of this node
  double timeout_seconds = 300;  ///< a wait longer than this is a hang; 0 or less: no watching
};

/// A word of letters and digits that no other run on this node has.
[[nodiscard]] std::string make_watchdog_token();

/// Ends a run in which ranks wait in vain. The ranks of a node show each other what they do in
/// shared memory; a thread of each rank watches. When a wait exceeds the limit, or a rank's process
/// has ended while its Watchdog stood, the lowest rank of the node whose thread still answers
/// prints `rank R host H pid P phase F step S`, what its streams do and its process' state to
/// stderr for every rank that did not come, and all end by _exit(7), after they have written what
/// they dump. One thread at a time may call begin_wait and end_wait of a kind, and one thread the
/// others. None is collective; none throws.
class Watchdog {
 public:
  /// Falls back to watching this rank alone when shared memory cannot be had.
  explicit Watchdog(const WatchdogOptions& options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// All ranks of the node have made theirs: the shared memory needs no name any more, and none is
  /// left behind however the run ends.
  void all_have_come() noexcept;
  /// What this rank does from now on; the phase is cut to 31 characters.
  void enter(std::string_view phase, std::int64_t step) noexcept;
  /// For whom a rank waits: in a collective, which every rank must number alike, or by itself, as
  /// in reading.
  enum class For { kOthers, kItself };
  /// Before a wait. `call` is named in the report. A thread may wait for others while another one
  /// waits for this rank itself.
  void begin_wait(std::string_view call, For whom = For::kOthers) noexcept;
  /// After it.
  void end_wait(For whom = For::kOthers) noexcept;

  /// Where this rank's flight record shows what it does (FlightRecord::show_in); null: nothing is
  /// watched. It lives as long as the watchdog.
  [[nodiscard]] Activity* activity() noexcept;
  /// The names of the units of all ranks' flight records, for the report.
  void name_units(std::vector<std::string> names);

  /// A file that exists, the run's log, to which the report is appended too, beside stderr; each
  /// rank that still answers writes the stacks of its threads beside it, as stacks.RANK.txt. Empty:
  /// none.
  void report_also_to(std::string file) noexcept;
  /// What each rank of the node that still answers does before a hang ends it, on the watchdog's
  /// thread, for two seconds at most; `place` is where it leaves what it writes, for the report.
  /// Empty: nothing. What `dump` refers to lives until it is replaced.
  void set_dump(std::string place, std::function<void()> dump) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// begin_wait and end_wait around a scope; `watchdog` may be null.
class WaitScope {
 public:
  WaitScope(Watchdog* watchdog, std::string_view call,
            Watchdog::For whom = Watchdog::For::kOthers) noexcept
      : watchdog_(watchdog), whom_(whom) {
    if (watchdog_ != nullptr) watchdog_->begin_wait(call, whom);
  }
  ~WaitScope() {
    if (watchdog_ != nullptr) watchdog_->end_wait(whom_);
  }
  WaitScope(const WaitScope&) = delete;
  WaitScope& operator=(const WaitScope&) = delete;

 private:
  Watchdog* watchdog_;
  Watchdog::For whom_;
};

}  // namespace th::runtime
