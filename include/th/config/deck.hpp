#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"

namespace th::config {

/// A key's value and where it came from: "default", "deck:LINE" or "command line".
struct ResolvedEntry {
  std::string key, value, origin;
};

struct LoadedDeck {
  RunConfig config;
  std::string name;                    ///< the deck file's stem
  std::string path;                    ///< the deck as messages name it
  std::vector<ResolvedEntry> entries;  ///< every key, in the table's order, paths absolute
  std::vector<std::string> warnings;   ///< known keys that have no effect in this run
};

/// Reads and checks a deck with overrides (`section.key=value`, with or without leading dashes).
/// Throws one DeckError that lists every problem, one a line: `FILE:LINE: section.key: what is
/// wrong; allowed …; nearest section.key`.
[[nodiscard]] LoadedDeck load_deck(const std::string& path,
                                   const std::vector<std::string>& overrides);
/// The same for a deck given as text; messages name it `display_name`, and relative paths are
/// relative to `folder`.
[[nodiscard]] LoadedDeck load_deck_text(const std::string& text, const std::string& display_name,
                                        const std::string& folder,
                                        const std::vector<std::string>& overrides);

/// Warnings about given keys that only --plan reads, for a run and for --check.
[[nodiscard]] std::vector<std::string> planning_keys(const LoadedDeck& deck);

/// A deck that gives the same run again: sections with one `key = value  # origin` a line.
[[nodiscard]] std::string resolved_text(const LoadedDeck& deck);
/// Hash of all resolved values: ranks that read the same deck have the same.
[[nodiscard]] std::uint64_t deck_hash(const LoadedDeck& deck);

/// A key whose value differs between a checkpoint's deck and the given one.
struct KeyDifference {
  std::string key, checkpoint, given;
  /// Model, tokenizer, data order, seed or optimizer.name: the run can't go on with another value.
  bool fatal = false;
};
[[nodiscard]] std::vector<KeyDifference> compare_for_resume(const std::string& checkpoint_deck,
                                                            const LoadedDeck& given);
/// Those of the differences by which the same parameters compute something else: the model's keys,
/// dropout left out.
[[nodiscard]] std::vector<KeyDifference> differences_of_meaning(const std::string& checkpoint_deck,
                                                                const LoadedDeck& given);

}  // namespace th::config
