#pragma once

#include <string>
#include <vector>

#include "app/interchange/foreign_model.hpp"

namespace th::app {

/// What a Marian model's configuration says, as far as it is covered.
struct MarianOptions {
  std::int64_t width = 0, heads = 0, inner = 0, encoder_layers = 0, decoder_layers = 0;
  std::string activation;       ///< swish, relu
  bool norm_before = false;     ///< of each sublayer's input, else of its sum with the input
  bool norm_at_top = false;     ///< of the stacks' outputs
  bool norm_embedding = false;  ///< of embeddings with their positions
  bool tied_source = false;     ///< one table of both sides
  bool tied_output = false;     ///< the output's matrix is the target's table
  bool output_bias = true;
};

/// Takes special:model.yml apart. Throws DeckError with a line for each option that has a value
/// that is not covered; `path` stands in messages.
[[nodiscard]] MarianOptions read_marian_options(const std::string& yaml, const std::string& path);

/// A transformer of Marian: an npz file of parameters with its configuration inside, and the
/// vocabularies' files. Throws DeckError for what is not covered (options, arrays that none of the
/// covered options has), CheckpointError and DataError for files that are not sound.
[[nodiscard]] ForeignModel read_marian(const std::string& path,
                                       const std::string& source_vocabulary,
                                       const std::string& target_vocabulary);

}  // namespace th::app
