#include "config/meanings.hpp"

#include "th/base/error.hpp"
#include "th/config/deck.hpp"
#include "th/config/schema.hpp"
#include "th/config/state_names.hpp"

// What a resume finds when it compares its deck with the checkpoint's.
namespace th::config {

namespace {

/// A deck's value of a key, and what it means where it is a word.
class Meanings {
 public:
  explicit Meanings(const LoadedDeck& deck) : deck_(deck), meant_(with_meanings(deck.config)) {}

  [[nodiscard]] std::string of(const std::string& key) const { return find_key(key)->get(meant_); }

  /// The value as it is told: "auto, which is 0".
  [[nodiscard]] std::string told(std::size_t entry) const {
    const auto& [key, value, origin] = deck_.entries[entry];
    const std::string meant = of(key);
    const bool word = value == find_key(key)->default_value && meant != value;
    return word ? value + ", which is " + meant : value;
  }

  /// Whether lines of both sides are cut alike, by data.max_length or keys of their own.
  [[nodiscard]] bool cuts_as(const Meanings& other) const {
    const DataSection &x = meant_.data, &y = other.meant_.data;
    return x.source_length() == y.source_length() && x.target_length() == y.target_length();
  }

 private:
  const LoadedDeck& deck_;
  RunConfig meant_;
};

}  // namespace

std::vector<KeyDifference> compare_for_resume(const std::string& checkpoint_deck,
                                              const LoadedDeck& given) {
  LoadedDeck before;
  try {
    before = load_deck_text(checkpoint_deck, "checkpoint", "/", {});
  } catch (const DeckError& error) {  // nothing that the user's deck could put right
    throw CheckpointError(std::string("this build can't read the checkpoint's own deck:\n") +
                          error.what());
  }
  const Meanings meant_then(before), meant_now(given);
  std::vector<KeyDifference> out;
  for (std::size_t i = 0; i < given.entries.size(); ++i) {
    const ResolvedEntry& now = given.entries[i];
    const ResolvedEntry& then = before.entries[i];
    const OnResume rule = find_key(now.key)->on_resume;
    if (now.value == then.value || rule == OnResume::kUnchecked) continue;
    if (meant_now.of(now.key) == meant_then.of(now.key)) continue;
    if (now.key == "data.max_length" && meant_now.cuts_as(meant_then)) continue;
    // With another momentum the optimizer may keep other states.
    const bool states = now.key == "optimizer.momentum" &&
                        optimizer_rule(before.config) != optimizer_rule(given.config);
    out.push_back(
        {now.key, meant_then.told(i), meant_now.told(i), states || rule == OnResume::kFixed});
  }
  return out;
}

std::vector<KeyDifference> differences_of_meaning(const std::string& checkpoint_deck,
                                                  const LoadedDeck& given) {
  std::vector<KeyDifference> all = compare_for_resume(checkpoint_deck, given);
  std::erase_if(all, [](const KeyDifference& one) {
    return !one.fatal || one.key.rfind("model.", 0) != 0 || one.key.ends_with("dropout");
  });
  return all;
}

}  // namespace th::config
