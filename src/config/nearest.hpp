#pragma once

#include <string>

#include "th/config/schema.hpp"

namespace th::config {

/// The value of a choice or boolean that a refused `text` was probably meant to be: the same in
/// other letters, what another program calls it (silu, rmsnorm, yes), or one with a letter or two
/// wrong. Empty: none.
[[nodiscard]] std::string nearest_value(const Key& key, const std::string& text);

}  // namespace th::config
