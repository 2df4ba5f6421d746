#pragma once

#include "th/base/log.hpp"
#include "th/config/deck.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/mpi.hpp"
#include "th/train/run_device.hpp"

namespace th::train {

/// Runs three steps of the deck's run at every ZeRO stage and every kind of gradient checkpointing,
/// each from the same start. Prints a table of losses, gradient norms and a hash of the parameters,
/// and returns whether all bits are the same. Writes no files. Collective.
[[nodiscard]] bool selfcheck(const config::LoadedDeck& deck, const RunDevice& device,
                             runtime::Collectives& collectives, const runtime::Communicator& node,
                             Log& log);

}  // namespace th::train
