#pragma once

#include "th/config/run_config.hpp"
#include "th/data/tokenizer/tokenizer_factory.hpp"
#include "th/io/checkpoint/checkpoint_reader.hpp"

namespace th::io {

/// A checkpoint's tokenizers. Throws CheckpointError if it has none (synthetic ids) or they are
/// damaged.
[[nodiscard]] data::TokenizerPair tokenizers_of(const CheckpointReader& reader);

/// The tokenizers that a run does not make from its training text: those of the checkpoint that it
/// goes on from (`resumed`, null: none), of checkpoint.init_from or of data.vocabulary. Empty if
/// the run makes its own, and for synthetic ids. Throws CheckpointError, DataError for a file of
/// words, and DeckError if the deck asks for another kind than the checkpoint has, or for one
/// vocabulary while it has two. Not collective.
[[nodiscard]] data::TokenizerPair given_tokenizers(const config::RunConfig& config,
                                                   const CheckpointReader* resumed = nullptr);

/// Throws DeckError if a path in the deck (data.vocabulary, data.tokenizer_model) names other
/// tokenizers than those of the checkpoint that the run goes on from.
void require_same_tokenizers(const config::RunConfig& config, const CheckpointReader& resumed);

}  // namespace th::io
