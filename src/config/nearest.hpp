#pragma once

#include <string>
#include <vector>

#include "th/config/schema.hpp"

namespace th::config {

/// The value of a choice or boolean that a refused `text` was probably meant to be: the same in
/// other letters, what another program calls it (silu, rmsnorm, yes), or one with a letter or two
/// wrong. Empty: none.
[[nodiscard]] std::string nearest_value(const Key& key, const std::string& text);

/// The keys that a name without a section was probably meant to be: one of that name in another
/// program's words (learning_rate, batch-size), all whose last part it is (max_length), or those
/// with a letter or two wrong. Empty: none.
[[nodiscard]] std::vector<std::string> keys_meant(const std::string& name);

/// The word from which `text` differs in a letter or two; empty: none.
[[nodiscard]] std::string nearest_word(const std::string& text,
                                       const std::vector<std::string>& words);

}  // namespace th::config
