#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/decoders/loaded_model.hpp"
#include "app/translate/decoding_options.hpp"

namespace th::app {

/// What the command line of th_translate asks for.
struct Request {
  std::vector<std::string> checkpoints;  ///< the first, and those that make an ensemble with it
  std::string input, target, output, serve;
  std::string shortlist;  ///< a file of th_corpus shortlist; empty: all ids have logits
  ParameterChoice choice;
  DecodingOverrides decoding;
  std::int64_t batch = 32;                     ///< sentences decoded together
  std::int64_t batch_tokens = 0;               ///< ids of the sources of a batch; 0: by sentences
  std::int64_t threads = 0;                    ///< of a rank; 0: the cores that it may use
  std::optional<std::int64_t> longest_source;  ///< ids of a text that the server takes at most
  bool score = false, alignment = false, replace_unknown = false, hierarchical = false;
  bool anew = false;                                 ///< of --output: whatever an earlier job left
  config::Sharded sharded = config::Sharded::kAuto;  ///< parameters over the ranks of a launch
};

/// Whether one model's parameters can be sharded: an ensemble, alignments (of --replace-unknown
/// too), int8 and the server take all of them on a rank.
[[nodiscard]] bool can_be_sharded(const Request& request);

/// Reads the command line. --help and --version print and end the process. Throws DeckError.
[[nodiscard]] Request parse_request(int argc, char** argv);

}  // namespace th::app
