#pragma once

#include <string>

#include "th/base/error.hpp"
#include "th/config/deck.hpp"

namespace th::config {

/// If the message begins with a file that the deck or the command line names, the message with that
/// key and its place in front: "a.in:7: data.train_source: /corpus/train.en: can't be read". Any
/// other message is returned unchanged.
[[nodiscard]] std::string with_key_of_file(const LoadedDeck& deck, const std::string& message);

/// Returns what `open` returns. If its error begins with a file of the deck, the error that is
/// thrown names the key too.
template <typename Open>
auto naming_keys(const LoadedDeck& deck, const Open& open) {
  try {
    return open();
  } catch (const Error& error) {
    const std::string text = with_key_of_file(deck, error.what());
    if (text == error.what()) throw;
    throw Error(error.exit_code(), text, error.thrown());
  }
}

}  // namespace th::config
