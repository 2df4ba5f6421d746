#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "th/base/error.hpp"
#include "th/base/log.hpp"
#include "th/config/run_config.hpp"
#include "th/runtime/observe/event_log.hpp"
#include "th/runtime/transport/clock_offset.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/zero/engine.hpp"

namespace th::train {

/// profile.*: what every rank does in a window of steps, as the flight record has it, in one Chrome
/// trace, trace.json of the output folder (docs/profile.md). It costs nothing outside of the
/// window, changes no bits, and makes nobody wait within a step. A trace that can't be written is a
/// warning.
class Profile {
 public:
  /// `first` is the run's first step, counted from 1; `place` where this rank computes. The others
  /// outlive this object.
  Profile(const config::RunConfig& config, std::int64_t first, zero::ZeroEngine& engine,
          runtime::Collectives& collectives, std::string place, Log& log);

  /// Around each step, with its number. Collective at the window's first and last step: the trace
  /// is written behind the last one.
  void begin_step(std::int64_t step);
  void end_step();
  /// No step comes any more: writes what there is of a window that has not ended, and warns where
  /// none began. Collective.
  void end_run();
  /// An error ends the run: what there is of all ranks where a loss or norm is not finite, which
  /// all have at the same place, else of rank 0. Throws nothing.
  void give_up(const Error& error) noexcept;

 private:
  enum class Ranks { kAll, kMine };
  /// A rank's part of a trace; times on rank 0's clock.
  struct Part {
    std::int64_t begin = 0, events = 0, lost = 0;
    runtime::BusyTime busy;
    runtime::ClockOffset clock;
  };

  void write(Ranks ranks);
  /// On rank 0 the file, to which the others send their events; what went wrong there. Collective
  /// over the ranks of `parts`.
  [[nodiscard]] std::string write_file(const std::vector<Part>& parts,
                                       const std::vector<std::string>& places);
  void report(const std::vector<Part>& parts);
  [[nodiscard]] Part my_part() const;
  [[nodiscard]] std::vector<Part> gather_parts(Ranks ranks) const;

  std::int64_t asked_first_, asked_last_, stage_, run_first_, step_ = 0;
  zero::ZeroEngine& engine_;
  runtime::Collectives& collectives_;
  std::string place_, path_;
  Log& log_;
  std::int64_t begun_ = 0;  ///< the first step in the trace; 0: none yet
  runtime::ClockOffset clock_;
  std::shared_ptr<const runtime::EventLog> events_;  ///< while the window lasts
};

}  // namespace th::train
