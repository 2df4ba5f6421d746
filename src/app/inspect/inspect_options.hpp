#pragma once

#include <optional>
#include <string>
#include <vector>

namespace th::app {

/// What th_inspect is asked to do: one command's words and options.
struct InspectRequest {
  std::string command;
  std::vector<std::string> words;  ///< what stands after the command
  bool json = false, states = false, parameters_only = false, force = false;
  std::string output, format, from, dtype = "fp32", parameters = "trained", deck, like,
                                    vocabulary_source, vocabulary_target;
};

/// A command: its words, the options that it takes beside --json, and the function that does it.
struct InspectCommand {
  const char* name;
  const char* words;    ///< as in the usage line
  const char* summary;  ///< a sentence
  std::size_t fewest, most;
  std::vector<std::string> options;
  int (*run)(const InspectRequest& request);  ///< returns the exit code
};

/// Takes the command line apart. Empty where --help or --version was asked for, then that is
/// printed. Throws DeckError: unknown command or option, too few or too many words.
[[nodiscard]] std::optional<InspectRequest> parse_inspect(
    int argc, const char* const* argv, const std::vector<InspectCommand>& commands);

}  // namespace th::app
