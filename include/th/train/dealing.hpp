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

/// What auto comes to: blocks where several nodes send gradients that every rank has whole anyway,
/// of more than one micro-batch a rank, and where `fits()` says that the sums have room. It is
/// called at most once, where all else allows blocks.
[[nodiscard]] DealingChoice choose_dealing(const config::RunConfig& config, std::int64_t slots,
                                           const runtime::NodeMap& nodes,
                                           const std::function<bool()>& fits);

}  // namespace th::train
