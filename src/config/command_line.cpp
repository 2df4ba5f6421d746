#include "th/config/command_line.hpp"

#include <algorithm>
#include <boost/program_options.hpp>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "config/mistaken_word.hpp"
#include "th/base/error.hpp"

namespace th::config {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage =
    "th_app DECK [--section.key=value | section.key=value]... [--check [--data] | --plan | "
    "--selfcheck]";

struct Flag {
  const char* name;
  Action action;
};
constexpr Flag kFlags[] = {{"check", Action::kCheck},         {"plan", Action::kPlan},
                           {"selfcheck", Action::kSelfcheck}, {"replay", Action::kReplay},
                           {"explain", Action::kExplain},     {"help", Action::kHelp},
                           {"version", Action::kVersion}};

po::options_description visible_options() {
  po::options_description options("Options");
  options.add_options()(
      "check", po::bool_switch(),
      "check the deck and print it resolved, with the origin of each value; run nothing")(
      "data", po::bool_switch(),
      "with --check: read the data files too, as a run would, and say what becomes of them")(
      "plan", po::bool_switch(),
      "memory per rank for every ZeRO stage, bytes sent, checkpoint size, time (see plan.ranks, "
      "plan.link_gbytes)")("selfcheck", po::bool_switch(),
                           "three steps at stages 0 to 3, recompute on and off; exit 0 when all "
                           "bits are the same, else 1")(
      "replay", po::value<std::string>()->value_name("FILE"),
      "run a step that a run has kept once more, at any rank count: its losses and gradients")(
      "explain", po::value<std::string>()->implicit_value("")->value_name("[KEY]..."),
      "what keys, sections, the keys that mention a word, or all keys of the deck mean")(
      "help,h", po::bool_switch(), "this text")("version", po::bool_switch(),
                                                "build, libraries and devices");
  return options;
}

/// th_app's own options, with their dashes.
std::vector<std::string> option_names() {
  std::vector<std::string> out{"-h", "--data"};
  for (const Flag& flag : kFlags) out.push_back(std::string("--") + flag.name);
  return out;
}

/// "[--]section.key=value": a dot in the name, and nothing else than a name before the equals sign.
bool is_override(std::string_view text) {
  if (text.starts_with("--")) text.remove_prefix(2);
  const std::string_view name = text.substr(0, text.find('='));
  const auto is_name = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.';
  };
  return name.size() < text.size() && name.find('.') != std::string_view::npos &&
         std::all_of(name.begin(), name.end(), is_name);
}

class CommandLineReader {
 public:
  CommandLine read(int argc, const char* const* argv) {
    const std::vector<std::string> words(argv + std::min(argc, 1), argv + argc);
    const std::vector<std::string> rest = without_overrides(words);
    try {
      parse(rest);
    } catch (const po::error& error) {
      problem(error.what());
    }
    if (!problems_.empty()) throw DeckError(problems_ + "\nusage: " + kUsage);
    return std::move(line_);
  }

 private:
  void problem(const std::string& text) {
    problems_ += (problems_.empty() ? "command line: " : "\ncommand line: ") + text;
  }

  /// The words that are no overrides; those that nobody can mean become problems.
  std::vector<std::string> without_overrides(const std::vector<std::string>& words) {
    const std::vector<std::string> options = option_names();
    std::vector<std::string> rest;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (is_override(words[i])) {
        line_.overrides.push_back(words[i]);
        continue;
      }
      const std::string next = i + 1 < words.size() ? words[i + 1] : "";
      const std::optional<MistakenWord> mistaken = mistaken_word(words[i], next, options);
      if (!mistaken) {
        rest.push_back(words[i]);
        continue;
      }
      problem(mistaken->problem);
      if (mistaken->takes_next) ++i;
      took_word_ = took_word_ || mistaken->takes_next;
    }
    return rest;
  }

  void parse(const std::vector<std::string>& arguments) {
    const po::options_description visible = visible_options();
    po::options_description all;
    all.add(visible).add_options()("deck", po::value<std::vector<std::string>>());
    const int style = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
    const po::parsed_options parsed =
        po::command_line_parser(arguments)
            .options(all)
            .positional(po::positional_options_description().add("deck", -1))
            .style(style)
            .allow_unregistered()
            .run();
    for (const std::string& unknown :
         po::collect_unrecognized(parsed.options, po::exclude_positional))
      report_unknown(unknown);
    po::variables_map values;
    po::store(parsed, values);
    const std::vector<std::string> words = values.count("deck") != 0
                                               ? values["deck"].as<std::vector<std::string>>()
                                               : std::vector<std::string>();
    choose_action(values);
    line_.reads_data = values["data"].as<bool>();
    if (line_.reads_data && line_.action != Action::kCheck && line_.action != Action::kHelp)
      problem("--data belongs to --check");
    if (line_.action == Action::kExplain && !line_.overrides.empty())
      problem("--explain takes keys alone, without a value");
    if (line_.action == Action::kExplain)
      take_explain_keys(values["explain"].as<std::string>(), words);
    else if (line_.action == Action::kReplay)
      take_replay(values["replay"].as<std::string>(), words);
    else if (line_.action != Action::kHelp && line_.action != Action::kVersion)
      take_deck(words);
  }

  void report_unknown(const std::string& option) {
    if (!option.starts_with("-")) return problem("'" + option + "' belongs to no option");
    problem("unknown option " + option + "; allowed --section.key=value and the options of --help");
  }

  void choose_action(const po::variables_map& values) {
    std::vector<Flag> given;
    for (const Flag& flag : kFlags)
      if (values.count(flag.name) != 0 && !values[flag.name].defaulted()) given.push_back(flag);
    const auto asked = [&](Action action) {
      return std::any_of(given.begin(), given.end(),
                         [&](const Flag& f) { return f.action == action; });
    };
    if (asked(Action::kHelp))
      line_.action = Action::kHelp;
    else if (given.size() > 1)
      problem(std::string("--") + given[0].name + " and --" + given[1].name +
              " ask for different things; allowed one of them");
    else if (!given.empty())
      line_.action = given.front().action;
  }

  void take_explain_keys(const std::string& key, const std::vector<std::string>& words) {
    if (!key.empty()) line_.explain_keys.push_back(key);
    line_.explain_keys.insert(line_.explain_keys.end(), words.begin(), words.end());
  }

  void take_replay(std::string path, const std::vector<std::string>& words) {
    if (!words.empty())
      problem("--replay takes its deck from the file; '" + words[0] + "' is more");
    line_.replay_path = std::move(path);
  }

  void take_deck(const std::vector<std::string>& words) {
    if (words.size() == 1) {
      line_.deck_path = words.front();
    } else if (words.empty()) {
      // The word that was taken for an option's value may have been the deck.
      if (!took_word_) problem("no deck given");
    } else {
      problem("more than one deck: '" + words[0] + "' and '" + words[1] +
              "'; allowed one (an override is section.key=value)");
    }
  }

  CommandLine line_;
  std::string problems_;
  bool took_word_ = false;  ///< a word went with an unknown option
};

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  return CommandLineReader().read(argc, argv);
}

std::string help_text() {
  std::ostringstream text;
  text << "Trains an encoder-decoder Transformer on many ranks from one deck.\n\nUsage: " << kUsage
       << "\n"
       << "       th_app --replay FILE [section.key=value]...\n"
       << "       th_app --explain [KEY]... | --help | --version\n\n"
       << visible_options() << "\n"
       << "Any key of the deck can be given after it, as section.key=value or "
          "--section.key=value.\n\n"
       << "Examples:\n"
       << "  mpirun -np 8 th_app inputs/stage2.in\n"
       << "  mpirun -np 4 th_app inputs/stage3.in --train.epochs=2 --run.output_dir=/scratch/run1\n"
       << "  th_app inputs/base.in --check\n"
       << "  th_app --explain zero.stage\n"
       << "  th_app --explain muon schedule\n\n"
       << "Exit codes: 0 completed, 1 differs or internal error, 2 command line or deck, 3 data, 4 "
          "memory, 5 checkpoint,\n"
       << "6 numbers not finite, 7 communication, 75 stopped with a checkpoint saved (start "
          "again).\n";
  return text.str();
}

}  // namespace th::config
