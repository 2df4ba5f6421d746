#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "th/base/error.hpp"
#include "th/config/deck.hpp"

// What the tests of decks share: a sound deck, and loading that gives its problems as lines.
namespace th::config::test {

/// A deck without a problem or a warning, of six lines; tests append to it.
inline const std::string kSound =
    "[data]\n"
    "train_source = train.en\n"
    "train_target = train.fr\n"
    "[zero]\n"
    "stage = 2\n"
    "\n";

/// The same of random ids.
inline const std::string kSynthetic =
    "[data]\nsynthetic = random_ids\nvocab_size = 100\n[train]\nmax_steps = 5\n";

using Overrides = std::vector<std::string>;

inline LoadedDeck load(const std::string& text, const Overrides& overrides = {}) {
  return load_deck_text(text, "a.in", "/decks", overrides);
}

/// The lines of the DeckError; none where the deck is read.
inline std::vector<std::string> problems(const std::string& text, const Overrides& overrides = {}) {
  std::vector<std::string> lines;
  try {
    load(text, overrides);
  } catch (const DeckError& error) {
    const std::string all = error.what();
    for (std::size_t at = 0; at <= all.size();) {
      const std::size_t end = std::min(all.find('\n', at), all.size());
      lines.push_back(all.substr(at, end - at));
      at = end + 1;
    }
  }
  return lines;
}

/// The value of a key, as a deck holds it.
inline std::string value_of(const LoadedDeck& deck, const std::string& key) {
  for (const ResolvedEntry& entry : deck.entries) {
    if (entry.key == key) return entry.value;
  }
  return "no such key";
}

inline std::string origin_of(const LoadedDeck& deck, const std::string& key) {
  for (const ResolvedEntry& entry : deck.entries) {
    if (entry.key == key) return entry.origin;
  }
  return "no such key";
}

/// Every key's value, for comparisons that leave origins out.
inline std::vector<std::string> values(const LoadedDeck& deck) {
  std::vector<std::string> out;
  for (const ResolvedEntry& entry : deck.entries) out.push_back(entry.key + " = " + entry.value);
  return out;
}

using Lines = std::vector<std::string>;

}  // namespace th::config::test
