#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "th/base/error.hpp"
#include "th/base/log.hpp"
#include "th/runtime/observe/event_log.hpp"
#include "th/runtime/transport/clock_offset.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/train/watch/trace_file.hpp"
#include "th/train/watch/verdict.hpp"
#include "th/zero/engine/engine.hpp"

namespace th::train {

/// Carries out profile.*. It records what every rank does in a window of steps, as the flight
/// record sees it, and writes one Chrome trace, trace.json of the output folder (docs/profile.md),
/// and a verdict in the log. It costs nothing outside of the window, changes no bits, and makes no
/// rank wait within a step. A trace that can't be written is a warning.
class Profile {
 public:
  /// `first` is the run's first step, counted from 1; `place` is this rank's device. The other
  /// arguments outlive this object.
  Profile(const RunFacts& facts, std::int64_t first, zero::ZeroEngine& engine,
          runtime::Collectives& collectives, std::string place, Log& log);

  /// Called around each step, with its number. Collective at the window's first and last step; the
  /// trace is written after the last one.
  void begin_step(std::int64_t step);
  void end_step();
  /// Called after the last step: writes what there is of a window that has not ended, and warns if
  /// none began. Collective.
  void end_run();
  /// Called when an error ends the run: writes what there is. If a loss or norm is not finite, all
  /// ranks come here together, and the trace has all of them; otherwise it has rank 0. Throws
  /// nothing.
  void give_up(const Error& error) noexcept;

 private:
  enum class Ranks { kAll, kMine };
  void write(Ranks ranks);
  void report(const std::vector<TracePart>& parts);
  [[nodiscard]] std::vector<TracePart> gather_parts(const TraceFile::Source& source,
                                                    Ranks ranks) const;
  /// The notes of the trace beside its events.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> notes(
      const std::vector<TracePart>& parts, const std::vector<std::string>& words) const;

  const RunFacts& facts_;
  std::int64_t asked_first_, asked_last_, run_first_, step_ = 0;
  zero::ZeroEngine& engine_;
  runtime::Collectives& collectives_;
  std::string place_, path_;
  Log& log_;
  std::int64_t begun_ = 0;  ///< the first step in the trace; 0: none yet
  runtime::ClockOffset clock_;
  std::shared_ptr<const runtime::EventLog> events_;  ///< while the window lasts
};

}  // namespace th::train
