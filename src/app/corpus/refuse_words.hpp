#pragma once

#include <string>

#include "th/base/error.hpp"

namespace th::app {

/// Refuses the words of a command: DeckError, one line that names --help.
[[noreturn]] inline void refuse_words(const std::string& what) {
  throw DeckError("th_corpus: " + what + "; th_corpus --help shows what can be said");
}

}  // namespace th::app
