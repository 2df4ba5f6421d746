#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "th/train/watch/step_watch.hpp"

namespace th::train {

/// Where the time of some steps went on one rank, in seconds. The rest of `seconds`, without data,
/// compute, communication and waiting, is other time.
struct RankUse {
  double seconds = 0;        ///< of the steps, by the clock
  double data = 0;           ///< the rank waited for batches
  double compute = 0;        ///< passes and updates
  double communication = 0;  ///< in collectives, without compute beside it and without waits
  double waiting = 0;        ///< likewise: for ranks that came later to a collective
  double hidden = 0;         ///< communication, waits included, beside compute
  RankUse& operator+=(const RankUse& other);
};

/// Where the time of some steps went on all ranks, and for whom they waited.
struct TimeUse {
  std::int64_t first_step = 0, last_step = 0, steps = 0;
  std::vector<RankUse> ranks;
  /// For each rank, the seconds that the others together waited for it.
  std::vector<double> waited_for;
  double validation = 0, checkpoints = 0;  ///< seconds beside the steps

  /// An empty one for so many ranks.
  [[nodiscard]] static TimeUse of(std::size_t ranks);
  /// Adds a step by the times of the ranks' main threads. The rank that spent the least time in
  /// collectives is the one for which the others waited; it waited for nobody.
  void add(std::int64_t step, std::span<const StepTimes> times);
  /// The sum over ranks.
  [[nodiscard]] RankUse total() const;
};

}  // namespace th::train
