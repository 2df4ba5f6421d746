#pragma once

#include <string>
#include <vector>

namespace th::app {

/// A line of resolved.in.
struct DeckLine {
  std::string key;  ///< "section.key"
  std::string value;
  std::string origin;  ///< "default", "command line", "deck:LINE", …
  [[nodiscard]] bool given() const { return origin != "default"; }
};

struct DeckFile {
  std::string name;  ///< of the deck that was resolved
  std::vector<DeckLine> lines;
  /// Of a key; empty where there is none.
  [[nodiscard]] std::string value(const std::string& key) const;
};

/// Reads a run's resolved.in; a file that is missing gives an empty deck. Throws DataError where it
/// can't be read.
[[nodiscard]] DeckFile read_deck_file(const std::string& path);

}  // namespace th::app
