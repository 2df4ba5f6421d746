#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/train/watch/time_use.hpp"

namespace th::train {

/// The facts on which advice depends beside the times.
struct RunFacts {
  const config::RunConfig& config;
  std::vector<std::string> hosts{};  ///< by rank
  std::int64_t slots = 1;            ///< micro-batches in a step, dealt to the ranks in turn
  config::Overlap overlap = config::Overlap::kOff;  ///< comm.overlap as resolved
  int nodes = 1;
  int ranks_here = 1, cores_here = 0;  ///< on rank 0's node; cores 0: not known
  bool on_gpu = false;
  double padding = 0;  ///< the part of computed positions that is padding; 0: not known
};

/// How the times were taken.
enum class TimesOf {
  kAllStreams,  ///< from the events of each stream
  kHost,        ///< from the main threads; on a GPU they know only the wait for data
};

/// Says where a run's time goes, as lines for the log: a line with the shares of a step, then a
/// verdict for each part that is worth a change, the largest first, with what to change. There are
/// at most three verdicts; if nothing is worth a change, one says so. Empty if there were no steps.
[[nodiscard]] std::vector<std::string> verdict(const TimeUse& use, const RunFacts& facts,
                                               TimesOf of);

}  // namespace th::train
