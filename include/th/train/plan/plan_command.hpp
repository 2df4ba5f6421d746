#pragma once

#include <cstdint>
#include <string>

#include "th/config/deck.hpp"

namespace th::train {

/// The answer of --plan.
struct PlanAnswer {
  std::string text;  ///< tables for every ZeRO stage and kind of gradient checkpointing
  bool fits = true;  ///< what the deck asks for fits into this node's memory
};

/// Plans the deck's run for plan.ranks ranks (0: `launched_ranks`) without starting it: memory by
/// class, bytes sent a step, checkpoint size, seconds a step from a short probe of this processor,
/// and, when it does not fit, what to change. Reads the data to know the vocabularies and the
/// longest sentences. Not collective. Throws DataError and DeckError as the run would.
[[nodiscard]] PlanAnswer plan_run(const config::LoadedDeck& deck, std::int64_t launched_ranks);

}  // namespace th::train
