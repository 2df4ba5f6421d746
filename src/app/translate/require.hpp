#pragma once

#include <string>

#include "th/base/error.hpp"

namespace th::app {

/// Throws DeckError, the command line's, with what is wrong with it.
inline void require(bool fine, const std::string& what) {
  if (!fine) throw DeckError(what);
}

}  // namespace th::app
