#pragma once

#include <string>
#include <vector>

namespace th::config {

/// What th_app is asked to do.
enum class Action { kRun, kCheck, kPlan, kSelfcheck, kReplay, kExplain, kHelp, kVersion };

/// The command line of th_app, taken apart.
struct CommandLine {
  Action action = Action::kRun;
  std::string deck_path;               ///< set for run, check, plan and selfcheck
  std::vector<std::string> overrides;  ///< section.key=value, as given and in order
  /// For --explain: keys, sections or words; empty: all keys.
  std::vector<std::string> explain_keys;
  bool reads_data = false;  ///< --check --data
  std::string replay_path;  ///< for --replay
};

/// Parses the command line; flags and overrides may stand before or after the deck. Throws
/// DeckError that lists every problem, one a line: unknown options, two actions, no deck, two
/// decks.
[[nodiscard]] CommandLine parse_command_line(int argc, const char* const* argv);

/// The text of --help.
[[nodiscard]] std::string help_text();

}  // namespace th::config
