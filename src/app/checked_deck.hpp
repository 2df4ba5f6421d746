#pragma once

#include <string>
#include <vector>

#include "th/config/deck.hpp"

namespace th::app {

/// What --check prints of a deck that is sound: warnings as comments, then the resolved deck.
/// `data` are the comments of --data on what was read; null where no file was read.
[[nodiscard]] std::string checked_deck(const config::LoadedDeck& deck,
                                       const std::vector<std::string>* data);

}  // namespace th::app
