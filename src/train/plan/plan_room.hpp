#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include "train/plan/planner.hpp"

namespace th::train {

/// What a rank takes at its peaks: of its GPU's memory, and of its node's. On a CPU all is the
/// node's.
struct Need {
  std::int64_t device = 0, host = 0;
  std::int64_t mapped = 0;  ///< of its address space
};

/// What it may take, bytes; infinity where nothing limits it.
struct Room {
  bool gpu = false;  ///< the run is planned for GPUs
  std::int64_t ranks_here = 1;
  double device = std::numeric_limits<double>::infinity();
  double host = 0;
  double mapped = std::numeric_limits<double>::infinity();
  [[nodiscard]] bool holds(const Need& need) const { return excess(need) <= 0; }
  /// By how much a need is beyond it, on the side where it is worse.
  [[nodiscard]] double excess(const Need& need) const {
    return std::max({static_cast<double>(need.device) - device,
                     static_cast<double>(need.host) - host,
                     static_cast<double>(need.mapped) - mapped});
  }
};

/// The plan of `config` on the devices that `room` was found for, with decode.sharded=auto
/// resolved: on at stage 3 where the room does not hold the plan without.
[[nodiscard]] zero::MemoryPlan plan_for(const Planner& planner, const config::RunConfig& config,
                                        const Room& room);
[[nodiscard]] Need need_of(const zero::MemoryPlan& plan, const Room& room);
/// What this node and plan.gpu_gbytes leave to a rank beside the program itself; no limit where
/// that is not known.
[[nodiscard]] Room room_of(const Planner& planner);

constexpr std::int64_t kMostTokens = std::int64_t{1} << 20;  ///< no deck asks for more
/// The largest data.batch_tokens whose plan has room; 0: none has, kMostTokens: memory is no limit.
[[nodiscard]] std::int64_t largest_batch_tokens(const Planner& planner, const Room& room);
/// What to change, in the order of least harm: a smaller batch, gradient checkpointing, a higher
/// stage, no staging copy, offload. Each step is taken on top of those before it that helped, until
/// the run fits.
[[nodiscard]] std::string advice(const Planner& planner, const Room& room);

}  // namespace th::train
