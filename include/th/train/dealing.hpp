#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "th/config/run_config.hpp"
#include "th/runtime/transport/node_map.hpp"

namespace th::train {

/// comm.dealing as rounds or blocks, and why.
struct DealingChoice {
  config::Dealing dealing = config::Dealing::kRounds;
  std::string reason;  ///< "auto: one node"; for the log
};

/// Resolves comm.dealing. auto means blocks if there are several nodes, every rank has whole
/// gradients anyway, a rank has more than one micro-batch, and `fits()` says that there is room for
/// the sums. `fits` is called at most once, if everything else allows blocks.
[[nodiscard]] DealingChoice choose_dealing(const config::RunConfig& config, std::int64_t slots,
                                           const runtime::NodeMap& nodes,
                                           const std::function<bool()>& fits);

}  // namespace th::train
