#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/tokenizer/tokenizer.hpp"
#include "th/model/decoding/decoding.hpp"

namespace th::model {

/// The search options that need only the deck: all but the forbidden words, with the seed 1.
[[nodiscard]] SearchOptions search_options(const config::DecodeSection& decode);
/// The search that a deck asks for: one translation a sentence. Throws DeckError if a forbidden
/// word is outside the target vocabulary.
[[nodiscard]] SearchOptions search_options(const config::DecodeSection& decode, std::uint64_t seed,
                                           const data::Tokenizer& target);

/// The ids of each word or sequence of words, as the tokenizer divides it by itself. A mark of a
/// word's begin that is a token of its own is left out, because scripts without blanks have no such
/// mark within a line. `asked_by`: the key or option, for messages. Throws DeckError.
[[nodiscard]] std::vector<std::vector<std::int32_t>> forbidden_sequences(
    const std::vector<std::string>& words, const data::Tokenizer& target,
    const std::string& asked_by);

}  // namespace th::model
