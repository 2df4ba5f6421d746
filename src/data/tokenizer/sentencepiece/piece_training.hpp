#pragma once

#include <span>
#include <string>

#include "th/config/run_config.hpp"
#include "th/data/tokenizer/text_walk.hpp"

namespace th::data {

/// Trains a SentencePiece model by data.tokenizer, vocab_size, character_coverage, normalization,
/// user_symbols and byte_fallback, on one thread. Returns its bytes. `name` is the text's in
/// messages. Throws DataError where the text gives no model of data.vocab_size, with the size that
/// it can give.
[[nodiscard]] std::string train_pieces(const config::DataSection& data,
                                       std::span<const TextWalk> texts, const std::string& name);

}  // namespace th::data
