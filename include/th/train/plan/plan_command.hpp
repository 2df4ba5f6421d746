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
/// and what to change if it does not fit. Reads the data for the vocabularies and the longest
/// sentences. Not collective. Throws the same DataError and DeckError as the run.
[[nodiscard]] PlanAnswer plan_run(const config::LoadedDeck& deck, std::int64_t launched_ranks);

}  // namespace th::train
