#include "checked_deck.hpp"

#include "th/config/file_keys.hpp"
#include "th/config/schedule_end.hpp"
#include "th/config/schema.hpp"

#include <filesystem>
#include <set>
#include <system_error>

// --check without --data. It needs no LibTorch, so that the tests of decks start at once.
namespace th::app {

namespace fs = std::filesystem;

namespace {

/// A warning for each file that the deck names and that is not there. A deck may be checked where
/// its files are not, as on a login node, so this is no error.
std::vector<std::string> missing_files(const config::LoadedDeck& deck) {
  // What a run makes or waits for.
  static const std::set<std::string> kMade{"run.output_dir", "run.stop_file", "data.index_dir"};
  std::vector<std::string> out;
  for (const config::ResolvedEntry& entry : deck.entries) {
    const std::string& type = config::find_key(entry.key)->type;
    const bool several = type == "list of paths";
    // Words, or a path, which is absolute.
    const bool chosen = (entry.key == "checkpoint.resume" || entry.key == "data.vocabulary") &&
                        entry.value.starts_with('/');
    if (kMade.contains(entry.key) || !(several || type == "path" || chosen)) continue;
    for (const std::string& file :
         several ? config::files_of(entry.value) : std::vector<std::string>{entry.value}) {
      std::error_code error;
      if (!file.empty() && !fs::exists(file, error))
        out.push_back(entry.origin + ": " + entry.key + ": " + file + " is not there");
    }
  }
  return out;
}

/// What --check can't tell without the data; empty: nothing.
std::string unknown_length(const config::RunConfig& config) {
  if (!config::ends_with_the_epochs(config)) return "";
  return "note: the schedule's length was not checked: it is that of train.epochs, which --check "
         "--data counts; schedule.total_steps would set it";
}

}  // namespace

std::string checked_deck(const config::LoadedDeck& deck, const std::vector<std::string>* data) {
  std::string out;
  const auto comment = [&](const std::string& text) { out += "# " + text + "\n"; };
  for (const std::string& warning : deck.warnings) comment("warning: " + warning);
  for (const std::string& warning : config::planning_keys(deck)) comment("warning: " + warning);
  for (const std::string& warning : missing_files(deck)) comment("warning: " + warning);
  if (data != nullptr) {
    for (const std::string& text : *data) comment(text);
  } else if (const std::string note = unknown_length(deck.config); !note.empty()) {
    comment(note);
  }
  return out + config::resolved_text(deck);
}

}  // namespace th::app
