#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"

namespace th::config {

/// One deck key: the table of these gives the parser, --explain, docs/deck.md and the tests over
/// the shipped decks.
struct Key {
  std::string name;           ///< section.key
  std::string type;           ///< integer, number, boolean, choice, path, list of …
  std::string default_value;  ///< as it is written in a deck
  std::string allowed;        ///< range or values
  std::string help;
  /// Values (or "*": all but the default) that are known and not part of this build.
  std::vector<std::string> absent;
  /// Returns false where the text is of the wrong kind or out of range.
  std::function<bool(RunConfig&, const std::string&)> set;
  /// The value as it is written in a deck; it reads back to the same value.
  std::function<std::string(const RunConfig&)> get;
  /// Why a run does not look at the key; empty where it does. Null: by the checks alone.
  std::function<std::string(const RunConfig&)> idle{};
  /// What is wrong with a text that `set` refuses, as in "'TEXT' names bleu twice". Null, or empty:
  /// it is of the wrong kind or out of range.
  std::function<std::string(const std::string&)> why{};
};

/// All keys, in the order of the documentation.
[[nodiscard]] const std::vector<Key>& keys();
/// Null where there is none.
[[nodiscard]] const Key* find_key(const std::string& name);
/// What is wrong with a text that the key's `set` refuses: "'0' is out of range; allowed above 0".
[[nodiscard]] std::string refusal(const Key& key, const std::string& text);
/// The known key that was probably meant: with a letter or two wrong, to its last words too
/// (window: attention_window), what another program calls so (train.learning_rate: optimizer.lr),
/// the same of another section, or the one with the smallest edit distance.
[[nodiscard]] std::string nearest_key(const std::string& name);
/// --explain: a key, the keys of a section, those whose name, values or text hold the word `name`,
/// or all where it is empty. Throws DeckError where there is none.
[[nodiscard]] std::string explain(const std::string& name);
/// The same for several names, each key once, or for all where there are none. Throws one DeckError
/// for all unknown names, a line each.
[[nodiscard]] std::string explain(const std::vector<std::string>& names);
/// The text of docs/deck.md.
[[nodiscard]] std::string deck_reference_markdown();

}  // namespace th::config
