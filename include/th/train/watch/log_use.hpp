#pragma once

#include <cstdint>
#include <optional>

#include "th/runtime/observe/event_log.hpp"
#include "th/train/watch/time_use.hpp"

namespace th::train {

/// Whether all ranks come together in an event: a gather, a reduction, a step's norm, or the border
/// after a step.
[[nodiscard]] bool is_collective(const runtime::FlightRecord::Event& event) noexcept;
[[nodiscard]] std::int64_t count_collectives(const runtime::EventLog& log);

/// What one rank did in the steps of a log, by the times of its events. Validation and saves
/// between the steps are not counted. The log outlives this object.
class LogUse {
 public:
  explicit LogUse(const runtime::EventLog& log);

  /// A collective, as this rank saw it.
  struct Collective {
    double key = 0;  ///< step, kind and unit: the same on all ranks
    const runtime::FlightRecord::Event* event = nullptr;
    bool within_steps = true;
  };
  /// The log's next collective; nothing at the end. Collectives come in the same order on all
  /// ranks.
  [[nodiscard]] std::optional<Collective> next();
  /// Says that the last rank came to the collective at `latest`, in nanoseconds of this rank's
  /// clock. Returns the seconds that this rank waited there with nothing else to do. Must be called
  /// for each collective in turn.
  double waited(const Collective& collective, std::int64_t latest);

  /// The steps in the log, and where this rank's time in them went, up to the last call of
  /// waited().
  [[nodiscard]] std::int64_t steps() const { return steps_; }
  [[nodiscard]] RankUse result() const;

 private:
  [[nodiscard]] runtime::Stretches within_steps(runtime::Stretches::Of of) const;
  void find_steps();
  void sum_up();

  const runtime::EventLog& log_;
  std::int64_t place_ = 0, steps_ = 0;
  std::int64_t begin_ = 0, end_ = 0;  ///< of the steps; nanoseconds, as the members below
  std::int64_t between_ = 0;          ///< validation and saves between them
  std::int64_t compute_ = 0, data_ = 0, hidden_ = 0, exposed_ = 0, waiting_ = 0;
  std::int64_t waited_to_ = 0;                         ///< everything before it is counted
  std::optional<runtime::Stretches> passes_, breaks_;  ///< for waited() and next()
};

}  // namespace th::train
