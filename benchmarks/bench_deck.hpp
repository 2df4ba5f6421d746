#pragma once

#include <string>
#include <vector>

#include "th/config/deck.hpp"

namespace th::bench {

/// The deck that a benchmark is of: `PROGRAM [DECK] [section.key=value]…`, inputs/benchmark.in
/// where none is given. Throws DeckError.
[[nodiscard]] inline config::LoadedDeck deck_of(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  std::string path = TH_SOURCE_DIR "/inputs/benchmark.in";
  if (!words.empty() && words.front().find('=') == std::string::npos) {
    path = words.front();
    words.erase(words.begin());
  }
  return config::load_deck(path, words);
}

}  // namespace th::bench
