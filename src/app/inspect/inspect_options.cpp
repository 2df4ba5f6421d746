#include "app/inspect/inspect_options.hpp"

#include <boost/program_options.hpp>

#include <algorithm>
#include <iostream>

#include "th/base/build_info.hpp"
#include "th/base/error.hpp"

namespace th::app {
namespace {

namespace po = boost::program_options;

/// Every option of every command; a command has those that it names.
po::options_description options_of(const InspectCommand& command, InspectRequest& request) {
  po::options_description all;
  all.add_options()("output", po::value(&request.output),
                    "the file or folder that is made; it appears under its name when it is whole")(
      "force", po::bool_switch(&request.force), "replace an output that is there")(
      "format", po::value(&request.format),
      "safetensors, npz or ctranslate2 (a folder); without it the output's name says which")(
      "from", po::value(&request.from),
      "whose model it is: marian (an npz file), huggingface-marian (a folder of MarianMT)")(
      "dtype", po::value(&request.dtype),
      "of the parameters: fp32, bf16 (safetensors alone) or fp16; optimizer states stay fp32")(
      "parameters", po::value(&request.parameters),
      "trained, or ema: their moving average under the parameters' names")(
      "states", po::bool_switch(&request.states), "the optimizer's states too, as STATE/NAME")(
      "parameters-only", po::bool_switch(&request.parameters_only),
      "leave the optimizer's states out")(
      "like", po::value(&request.like),
      "a checkpoint whose deck and vocabularies the new one gets")(
      "deck", po::value(&request.deck), "the deck of the model, in place of the one in the file")(
      "vocabulary-source", po::value(&request.vocabulary_source),
      "the source tokens in id order, one a line, in place of those in the file; with --from the "
      "model's vocabulary: .yml, .json, .spm")(
      "vocabulary-target", po::value(&request.vocabulary_target), "the target tokens");
  po::options_description own("options", 140, 100);
  for (const auto& name : command.options) {
    const auto& known = all.options();
    own.add(*std::find_if(known.begin(), known.end(),
                          [&](const auto& option) { return option->long_name() == name; }));
  }
  own.add_options()("json", po::bool_switch(&request.json), "print the answer as JSON")(
      "help,h", "this text");
  return own;
}

std::string usage_line(const InspectCommand& command) {
  return std::string("th_inspect ") + command.name + " " + command.words;
}

void print_overview(std::ostream& out, const std::vector<InspectCommand>& commands) {
  out << "usage: th_inspect COMMAND … [--json]\n";
  for (const auto& command : commands)
    out << "  " << usage_line(command) << "\n      " << command.summary << '\n';
  out << "CHECKPOINT is a step folder, or a checkpoints folder or a run's folder: then its newest; "
         "or one of its files latest, best and final. "
         "NAME is a parameter's, or STATE/NAME "
         "for an\n"
         "optimizer state. th_inspect COMMAND --help: its options.\n"
         "Exit: 0 fine, 1 differs or damaged, 2 command line, 3 data, 5 checkpoint or file "
         "unusable.\n";
}

void print_command(const InspectCommand& command, const po::options_description& options) {
  std::cout << "usage: " << usage_line(command) << '\n' << command.summary << '\n' << options;
}

const InspectCommand& find_command(const std::string& name,
                                   const std::vector<InspectCommand>& commands) {
  std::string allowed;
  for (const auto& command : commands) {
    if (name == command.name) return command;
    allowed += (allowed.empty() ? "" : ", ") + std::string(command.name);
  }
  throw DeckError("no command '" + name + "'; allowed " + allowed);
}

}  // namespace

std::optional<InspectRequest> parse_inspect(int argc, const char* const* argv,
                                            const std::vector<InspectCommand>& commands) {
  std::vector<std::string> given(argv + 1, argv + argc);
  const auto first = std::find_if(given.begin(), given.end(), [](const std::string& word) {
    return word.empty() || word[0] != '-';
  });
  if (first == given.end()) {
    const bool help = std::any_of(given.begin(), given.end(), [](const std::string& word) {
      return word == "--help" || word == "-h";
    });
    if (help)
      print_overview(std::cout, commands);
    else if (given == std::vector<std::string>{"--version"})
      std::cout << "th_inspect " << build_line() << '\n';
    else
      throw DeckError(
          "no command is given; usage: th_inspect COMMAND …; th_inspect --help lists them");
    return std::nullopt;
  }
  InspectRequest request;
  request.command = *first;
  given.erase(first);  // options may stand before it
  const InspectCommand& command = find_command(request.command, commands);
  const po::options_description visible = options_of(command, request);
  po::options_description options;
  options.add(visible).add_options()("words", po::value(&request.words), "");
  po::positional_options_description positional;
  positional.add("words", -1);
  try {
    const int style =
        po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
    po::variables_map values;
    po::store(
        po::command_line_parser(given).options(options).positional(positional).style(style).run(),
        values);
    if (values.contains("help")) {
      print_command(command, visible);
      return std::nullopt;
    }
    po::notify(values);
  } catch (const po::error& error) {
    throw DeckError(std::string(error.what()) + "; usage: " + usage_line(command));
  }
  if (request.words.size() < command.fewest || request.words.size() > command.most) {
    throw DeckError(std::to_string(request.words.size()) + " words after " + command.name +
                    "; usage: " + usage_line(command));
  }
  return request;
}

}  // namespace th::app
