#pragma once

#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/io/checkpoint/checkpoint_info.hpp"

namespace th::train {

/// What a run that goes on from a checkpoint drops, begins anew or rounds of its states, a sentence
/// each: the moving average, the optimizer's states in another type, fp16's loss scale.
/// `loss_scale`: the checkpoint's; 0: it has none.
[[nodiscard]] std::vector<std::string> state_changes(const io::CheckpointInfo& checkpoint,
                                                     const config::RunConfig& config,
                                                     double loss_scale);

}  // namespace th::train
