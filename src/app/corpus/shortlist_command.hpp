#pragma once

#include <string>
#include <vector>

namespace th::app {

/// th_corpus shortlist: learns a shortlist from the training text of a checkpoint's deck, with the
/// checkpoint's tokenizers, or of a deck. `words`: those behind the command. Returns the exit code.
/// Throws DeckError for the command line and, without --force, where a file that is no shortlist is
/// in its place, DataError and CheckpointError for what it reads, DataError where the file can't be
/// written.
[[nodiscard]] int make_shortlist(const std::vector<std::string>& words);

}  // namespace th::app
