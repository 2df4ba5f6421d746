#pragma once

#include <optional>
#include <string>
#include <vector>

namespace th::config {

/// What is wrong with a word of th_app's command line, and what to write instead.
struct MistakenWord {
  std::string problem;
  bool takes_next = false;  ///< the next word is its value, as in `--epochs 3`
};

/// Whether a word is a key without its section (`epochs=5`, `--batch_size=16`), a key without an
/// equals sign (`--epochs 3`), or an option that another program has. `next` is the word behind it,
/// empty where there is none; `options` are th_app's own, with their dashes. Nothing: it is none of
/// these.
[[nodiscard]] std::optional<MistakenWord> mistaken_word(const std::string& word,
                                                        const std::string& next,
                                                        const std::vector<std::string>& options);

}  // namespace th::config
