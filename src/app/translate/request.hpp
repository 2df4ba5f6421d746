#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "app/decoding_options.hpp"
#include "app/translate/loaded_model.hpp"

namespace th::app {

/// What the command line of th_translate asks for.
struct Request {
  std::vector<std::string> checkpoints;  ///< the first, and those that make an ensemble with it
  std::string input, target, output, serve;
  ParameterChoice choice;
  DecodingOverrides decoding;
  std::int64_t batch = 32;         ///< sentences decoded together
  std::int64_t batch_tokens = 0;   ///< ids of the sources of a batch; 0: by sentences
  std::int64_t threads = 0;        ///< of a rank; 0: the cores that it may use
  bool score = false, alignment = false;
};

/// Reads the command line. --help and --version print and end the process. Throws DeckError.
[[nodiscard]] Request parse_request(int argc, char** argv);

}  // namespace th::app
