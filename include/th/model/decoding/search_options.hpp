#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/data/tokenizer/tokenizer.hpp"
#include "th/model/decoding/decoding.hpp"

namespace th::model {

/// What of a deck's search its text alone says: all but the forbidden words, with the seed 1.
[[nodiscard]] SearchOptions search_options(const config::DecodeSection& decode);
/// The search that a deck asks for: one translation a sentence. Throws DeckError where a forbidden
/// word is outside the target vocabulary.
[[nodiscard]] SearchOptions search_options(const config::DecodeSection& decode, std::uint64_t seed,
                                           const data::Tokenizer& target);

/// The ids of each word or sequence of words, as the tokenizer cuts it where it stands alone; a
/// mark of a word's begin that is a token of its own is left out, because writing without blanks
/// has none within a line. `asked_by`: the key or option, for messages. Throws DeckError.
[[nodiscard]] std::vector<std::vector<std::int32_t>> forbidden_sequences(
    const std::vector<std::string>& words, const data::Tokenizer& target,
    const std::string& asked_by);

}  // namespace th::model
