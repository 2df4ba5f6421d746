#include <algorithm>

#include "reader.hpp"
#include "th/config/deck.hpp"
#include "th/config/schema.hpp"

// Decks with the overrides of a command line, which stand behind a line of %%, a line each.
namespace th::fuzz {
namespace {

constexpr const char* kOverrides = "\n%%\n";

std::vector<std::string> deck_seeds(const std::string& /*folder*/) {
  std::vector<std::string> seeds;
  for (const char* folder : {"tests/decks/good", "tests/decks/bad", "inputs"})
    for (std::string& text : files_below(folder, ".in", 8192)) seeds.push_back(std::move(text));
  seeds.push_back(seeds.front() + kOverrides + "zero.stage=2\n--train.max_steps=5");
  seeds.push_back(config::resolved_text(config::load_deck_text(
      "[data]\ntrain_source = a\ntrain_target = b\n", "deck.in", "/folder", {})));
  return seeds;
}

void read_deck(const std::string& input, const std::string& /*folder*/) {
  const std::size_t end = std::min(input.find(kOverrides), input.size());
  const std::string text = input.substr(0, end);
  std::vector<std::string> overrides;
  for (std::size_t at = end; at < input.size();) {
    const std::size_t stop = std::min(input.find('\n', at), input.size());
    if (stop > at) overrides.push_back(input.substr(at, stop - at));
    at = stop + 1;
  }
  if (!overrides.empty()) overrides.erase(overrides.begin());  // the line of %%
  const config::LoadedDeck deck = config::load_deck_text(text, "fuzz.in", "/folder", overrides);
  const config::LoadedDeck again =
      config::load_deck_text(config::resolved_text(deck), "again.in", "/other", {});
  must(config::deck_hash(again) == config::deck_hash(deck), "a resolved deck has other values");
}

}  // namespace

Reader deck_reader() {
  std::vector<std::string> words = {"nan",   "-1",
                                    "1e99",  "\"",
                                    "[",     "]",
                                    "[]",    "=",
                                    "\n=\n", "#",
                                    "\r",    "\n",
                                    "--",    "..",
                                    "true",  "  # default\n",
                                    "%%\n",  "\xef\xbb\xbf",
                                    ",",     ", ,",
                                    "none",  "latest",
                                    "auto",  "/"};
  for (const config::Key& key : config::keys()) {
    words.push_back("\n" + key.name + " = ");
    words.push_back("\n[" + key.name.substr(0, key.name.find('.')) + "]\n");
    words.push_back(key.default_value);
    words.push_back(key.allowed.substr(0, key.allowed.find(',')));
  }
  return {"deck", 8192, {ExitCode::kDeck}, std::move(words), deck_seeds, read_deck};
}

}  // namespace th::fuzz
