#pragma once

#include "th/base/packed_error.hpp"

#include <string>

namespace th::app {

/// What a rank of th_translate may do where memory is too little.
inline const std::string kLessMemory = "a smaller --batch or --batch-tokens takes less";

/// The code and the text of the exception that is being handled, as packed_error() has them.
[[nodiscard]] inline std::string current_error() { return packed_current_error("", kLessMemory); }

}  // namespace th::app
