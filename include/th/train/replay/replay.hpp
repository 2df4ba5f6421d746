#pragma once

#include <string>

#include "th/base/log.hpp"
#include "th/config/deck.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/train/replay/bad_step.hpp"
#include "th/train/run_device.hpp"

namespace th::train {

/// Runs the step of the file `path` once more, with the parameters that were saved with it: first
/// the loss of each micro-batch without dropout, then the step itself as the run made it. Any rank
/// count up to the number of micro-batches and any stage will do. Writes nothing. Returns whether
/// loss and gradients are finite this time. Throws the same Error on every rank: DataError for ids
/// that the model does not have, CheckpointError. Collective.
[[nodiscard]] bool replay(const BadStep& bad, const std::string& path,
                          const config::LoadedDeck& deck, const RunDevice& device,
                          runtime::Collectives& collectives, Log& log);

}  // namespace th::train
