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
  /// Rank 0 makes it (make_watchdog_token). It is the same on all ranks of the run, and no other
  /// run has it.
  std::string token;
  int rank = 0, local_rank = 0, local_size = 1;  ///< local: among the ranks of this node
  double timeout_seconds = 300;  ///< a wait longer than this is a hang; 0 or less: no watching
};

/// A word of letters and digits that no other run on this node has.
[[nodiscard]] std::string make_watchdog_token();

/// Ends a run in which ranks wait in vain. The ranks of a node show each other in shared memory
/// what they do, and a thread of each rank watches. If a wait exceeds the limit, or a rank's
/// process has ended while its Watchdog existed, the lowest rank of the node whose thread still
/// answers reports every missing rank on stderr: `rank R host H pid P phase F step S`, what its
/// streams do and its process' state. Then all ranks write their dumps and end by _exit(7). One
/// thread at a time may call begin_wait and end_wait of a kind, and one thread the other functions.
/// None is collective; none throws.
class Watchdog {
 public:
  /// Watches only this rank if there is no shared memory.
  explicit Watchdog(const WatchdogOptions& options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Says that all ranks of the node have made their Watchdog. The shared memory needs no name any
  /// more, so none is left behind, however the run ends.
  void all_have_come() noexcept;
  /// Says what this rank does from now on; the phase is cut to 31 characters.
  void enter(std::string_view phase, std::int64_t step) noexcept;
  /// For whom a rank waits: for others in a collective, of which every rank must count the same
  /// number, or for itself, as in reading.
  enum class For { kOthers, kItself };
  /// Called before a wait. The report names `call`. A thread may wait for others while another one
  /// waits for this rank itself.
  void begin_wait(std::string_view call, For whom = For::kOthers) noexcept;
  /// Called after a wait.
  void end_wait(For whom = For::kOthers) noexcept;

  /// The memory in which this rank's flight record shows what it does (FlightRecord::show_in); null
  /// if nothing is watched. It lives as long as the watchdog.
  [[nodiscard]] Activity* activity() noexcept;
  /// The names of the units of all ranks' flight records, for the report.
  void name_units(std::vector<std::string> names);

  /// Names the run's log, an existing file, to which the report is also appended. Each rank that
  /// still answers writes the stacks of its threads beside it, as stacks.RANK.txt. Empty: no file.
  void report_also_to(std::string file) noexcept;
  /// Sets what each rank of the node that still answers does before a hang ends it. `dump` runs on
  /// the watchdog's thread for two seconds at most; the report names `place`, where it writes. An
  /// empty one does nothing. What `dump` refers to must live until it is replaced.
  void set_dump(std::string place, std::function<void()> dump) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Calls begin_wait and end_wait around a scope; `watchdog` may be null.
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
