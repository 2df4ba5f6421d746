#pragma once

#include <string>

#include "th/config/command_line.hpp"

namespace th::app {

/// What th_app DECK --check prints: warnings as comments, then the resolved deck. With --data the
/// deck's files are read as a run of `launched_ranks` would read them, and more comments say what
/// became of them. Throws DeckError, with --data also DataError or CheckpointError. Not collective.
[[nodiscard]] std::string check_text(const config::CommandLine& line, int launched_ranks);

}  // namespace th::app
