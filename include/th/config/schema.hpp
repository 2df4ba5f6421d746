#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"

namespace th::config {

/// A resume that finds another value of a key than the checkpoint's deck has.
enum class OnResume {
  kTold,   ///< says so. A corpus may lie elsewhere, for a hash of its lines says whether it is the
           ///< same; so may a tokenizer's file, which is compared with the checkpoint's
  kFixed,  ///< is refused
  kUnchecked  ///< says nothing, because the key names a place or is checked elsewhere
};

/// One key of the deck. Parser, --explain, docs/deck.md and the tests over the shipped decks are
/// made from the table of these.
struct Key {
  std::string name;           ///< section.key
  std::string type;           ///< integer, number, boolean, choice, path, list of …
  std::string default_value;  ///< as it is written in a deck
  std::string allowed;        ///< range or values
  std::string help;
  /// Returns false where the text is of the wrong kind or out of range.
  std::function<bool(RunConfig&, const std::string&)> set;
  /// The value as it is written in a deck; it reads back to the same value.
  std::function<std::string(const RunConfig&)> get;
  /// Why the key has no effect in a run; empty if it has one. Null: only the checks decide.
  std::function<std::string(const RunConfig&)> idle{};
  /// Why `set` refuses a text, as in "'TEXT' names bleu twice". Null or an empty result: the text
  /// is of the wrong kind or out of range.
  std::function<std::string(const std::string&)> why{};
  OnResume on_resume = OnResume::kTold;
};

/// All keys, in the order of the documentation.
[[nodiscard]] const std::vector<Key>& keys();
/// The key of that name, or null.
[[nodiscard]] const Key* find_key(const std::string& name);
/// What is wrong with a text that the key's `set` refuses: "'0' is out of range; allowed above 0".
[[nodiscard]] std::string refusal(const Key& key, const std::string& text);
/// The known key that was probably meant. It differs by a letter or two, or ends with the given
/// words (window: attention_window), or is what another program calls so (train.learning_rate:
/// optimizer.lr), or has the same name in another section, or has the smallest edit distance.
[[nodiscard]] std::string nearest_key(const std::string& name);
/// The text of --explain for a key, for the keys of a section, or for the keys whose name, values
/// or text contain the word `name`; for all keys if it is empty. Throws DeckError if there is no
/// such key.
[[nodiscard]] std::string explain(const std::string& name);
/// The same for several names, each key once; for all keys if there are no names. Throws one
/// DeckError that lists all unknown names, one a line.
[[nodiscard]] std::string explain(const std::vector<std::string>& names);
/// The text of docs/deck.md.
[[nodiscard]] std::string deck_reference_markdown();

}  // namespace th::config
