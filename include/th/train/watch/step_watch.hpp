#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace th::train {

/// Where the seconds of a step went on one rank's main thread.
struct StepTimes {
  double data = 0;           ///< waiting for the next batches
  double compute = 0;        ///< the rest: the rank's own work
  double communication = 0;  ///< in collectives, waiting for other ranks included
  double hidden = 0;  ///< a communication thread was in collectives, and nobody waited for it
  StepTimes& operator+=(const StepTimes& other);
};

/// The mean over ranks, and the part of their communication that was waiting for the slowest rank.
/// That rank waits for nobody, so its communication is the real time of communication.
struct MeanTimes : StepTimes {
  double waiting = 0;
};
[[nodiscard]] MeanTimes mean_times(std::span<const StepTimes> ranks);

/// Finds ranks whose own work takes longer than the median rank's (monitor.straggler_factor). Work
/// is counted for each micro-batch, because ranks have different numbers of them, and added over a
/// window of steps. Not collective: it gets the times of all ranks.
class StragglerWatch {
 public:
  /// A window has at least so many steps and seconds. `slots`: micro-batches in a step, dealt to
  /// `hosts.size()` ranks in turn. With factor 0, or one rank, it looks for nothing.
  struct Window {
    std::int64_t steps = 20;
    double seconds = 5;
  };
  StragglerWatch(double factor, std::int64_t slots, std::vector<std::string> hosts, Window window);
  StragglerWatch(double factor, std::int64_t slots, std::vector<std::string> hosts)
      : StragglerWatch(factor, slots, std::move(hosts), Window()) {}

  /// Takes the times of all ranks in a step. Returns a line for the log for each rank that was slow
  /// in the window that ends with this step. A rank that stays slow is named again after twice as
  /// many windows each time.
  [[nodiscard]] std::vector<std::string> observe(std::int64_t step,
                                                 std::span<const StepTimes> ranks);

 private:
  [[nodiscard]] std::vector<std::string> slow_ranks(std::int64_t last_step);
  [[nodiscard]] double slots_of(std::size_t rank) const;

  /// When a slow rank is named next.
  struct Named {
    std::int64_t windows = 0;  ///< in a row in which it was slow
    std::int64_t next = 1;     ///< the window at which it is named
  };
  double factor_;
  std::int64_t slots_;
  std::vector<std::string> hosts_;
  Window window_;
  std::int64_t first_step_ = 0, steps_ = 0;
  double seconds_ = 0;
  std::vector<StepTimes> sums_;
  std::vector<Named> named_;
};

/// Finds losses that are far above those before, by a moving mean and deviation.
class LossWatch {
 public:
  /// Takes the loss of the next step; returns a line for the log, or "".
  [[nodiscard]] std::string observe(std::int64_t step, double loss);

 private:
  std::int64_t seen_ = 0, quiet_ = 0;
  double mean_ = 0, variance_ = 0;
};

}  // namespace th::train
