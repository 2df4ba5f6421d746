#include "th/config/deck.hpp"

#include "config/checks.hpp"
#include "config/key_table.hpp"
#include "config/nearest.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/config/schema.hpp"
#include "th/config/summarization.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <system_error>

namespace th::config {

namespace fs = std::filesystem;

namespace {

constexpr const char* kDefaultOrigin = "default";

struct Given {
  std::string value, where, origin;
  bool from_deck = false;
};

std::string trim(const std::string& s) {
  const auto first = s.find_first_not_of(" \t\r");
  if (first == std::string::npos) return {};
  return s.substr(first, s.find_last_not_of(" \t\r") - first + 1);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

/// `text` as a message shows it: on one line, and no longer than is read.
std::string shown(std::string text) {
  constexpr std::size_t kLongest = 120;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  std::replace_if(text.begin(), text.end(), is_control, '?');
  return text;
}

/// Throws where the text is of another kind of configuration: its first line tells.
void refuse_other_formats(std::istringstream lines, const std::string& file) {
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    const std::string at = file + ":" + std::to_string(number) + ": this is ";
    const std::string deck =
        ", and a deck has lines of [section] and key = value, as inputs/single.in has";
    if (line.front() == '{')
      throw DeckError(at + "JSON" + deck +
                      "; tools/deepspeed2deck.py makes a deck of a DeepSpeed configuration");
    const auto colon = line.find_first_of(":=");
    const bool yaml = line == "---" || line.starts_with("%YAML") ||
                      (colon != std::string::npos && line[colon] == ':' && colon > 0 &&
                       line.front() != '[' && (colon + 1 == line.size() || line[colon + 1] == ' '));
    if (yaml)
      throw DeckError(at + "YAML" + deck + "; docs/from-pytorch.md has other programs' keys");
    return;
  }
}

/// Whether `resolved_text` can hold this value: a deck has no quotes, and # begins a comment.
bool fits_a_deck(const std::string& value) {
  return value.find('#') == std::string::npos && trim(value) == value &&
         std::none_of(value.begin(), value.end(), is_control);
}

fs::path working_directory() {
  std::error_code error;
  const fs::path here = fs::current_path(error);
  if (error) throw DeckError("the working directory can't be read: " + error.message());
  return here;
}

class DeckReader {
 public:
  std::map<std::string, Given> given;
  std::vector<std::string> problems, warnings;

  std::set<std::string> mistyped;  ///< the keys that unknown ones were probably meant to be

  void read_text(const std::string& text, const std::string& file) {
    if (const auto zero = text.find('\0'); zero != std::string::npos) {
      const auto line =
          1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(zero), '\n');
      throw DeckError(file + ":" + std::to_string(line) + ": holds a zero byte, so it is no deck");
    }
    std::string lines = text.rfind("\xef\xbb\xbf", 0) == 0 ? text.substr(3) : text;
    if (lines.find('\n') == std::string::npos)
      std::replace(lines.begin(), lines.end(), '\r', '\n');  // line ends of old Macs
    refuse_other_formats(std::istringstream(lines), file);
    std::istringstream in(lines);
    int number = 0;
    for (std::string raw; std::getline(in, raw);) read_line(raw, file, ++number);
  }

  void read_overrides(const std::vector<std::string>& overrides) {
    std::set<std::string> seen;
    for (const std::string& item : overrides) {
      const std::string text = item.substr(std::min(item.find_first_not_of('-'), item.size()));
      const auto equals = text.find('=');
      if (equals == std::string::npos || equals == 0) {
        problems.push_back("command line: " + shown(item) +
                           ": an override is written section.key=value");
        continue;
      }
      const std::string key = text.substr(0, equals);
      if (!seen.insert(key).second) {
        problems.push_back("command line: " + shown(key) + ": given twice");
        continue;
      }
      given.erase(key);
      // Of two keys of which one is given, the command line's takes the place of the deck's.
      constexpr const char *kSize = "data.batch_size", *kTokens = "data.batch_tokens";
      const bool size = key == kSize,
                 tokens = key == kTokens && trim(text.substr(equals + 1)) != "0";
      if ((size || tokens) && !seen.contains(size ? kTokens : kSize))
        give_way(size ? kTokens : kSize, key);
      add(key, {trim(text.substr(equals + 1)), "command line", "command line", false});
    }
  }

 private:
  /// The deck's `key` has no effect beside the command line's `other`.
  void give_way(const std::string& key, const std::string& other) {
    const auto found = given.find(key);
    if (found == given.end()) return;
    if (found->second.origin != kDefaultOrigin)
      warnings.push_back(found->second.where + ": " + key + " has no effect: " + other +
                         " on the command line takes its place");
    given.erase(found);
  }

  void read_line(const std::string& raw, const std::string& file, int number) {
    const std::string where = file + ":" + std::to_string(number);
    const auto hash = raw.find('#');
    const std::string line = trim(raw.substr(0, hash));
    if (line.empty()) return;
    if (line.front() == '[') {
      const bool closed = line.back() == ']';
      const std::string name = trim(line.substr(1, line.size() - (closed ? 2 : 1)));
      if (!closed || name.empty())
        problems.push_back(where + ": " + shown(line) + ": a section is written [name]");
      if (!name.empty()) section_ = name;
      return;
    }
    const auto equals = line.find('=');
    if (equals == std::string::npos || equals == 0) {
      problems.push_back(where + ": " + shown(line) + ": a line is written key = value");
      return;
    }
    std::string name = trim(line.substr(0, equals));
    if (!section_.empty() && find_key(name) == nullptr) name = section_ + "." + name;
    const std::string value = trim(line.substr(equals + 1));
    // A resolved deck holds every key. Its lines that say `# default` and hold the default ask for
    // nothing: they contradict no other key.
    const Key* key = find_key(name);
    const bool standard =
        hash != std::string::npos && trim(raw.substr(hash + 1)) == kDefaultOrigin &&
        key != nullptr &&
        (value == key->default_value || value == default_of_summarization(key->name.c_str()));
    add(name, {value, where, standard ? kDefaultOrigin : "deck:" + std::to_string(number), true});
  }

  void add(const std::string& key, Given value) {
    if (find_key(key) == nullptr) {
      const std::string nearest = nearest_key(key);
      problems.push_back(value.where + ": " + shown(key) + ": unknown key; nearest " + nearest);
      mistyped.insert(nearest);
      return;
    }
    const auto found = given.find(key);
    if (found != given.end()) {
      problems.push_back(value.where + ": " + key + ": given before at " + found->second.where);
      return;
    }
    given.emplace(key, std::move(value));
  }

  std::string section_;
};

bool is_number(const Key& key, const std::string& text) {
  double number = 0;
  std::int64_t integer = 0;
  if (key.type == "integer") return parse_whole(text, integer);
  return key.type == "number" && parse_whole(text, number) && std::isfinite(number);
}

/// Each path of a value of several made absolute; an empty one stays, and is refused.
std::string absolute_files(const std::string& value,
                           const std::function<std::string(const std::string&)>& absolute) {
  std::string out;
  const char* comma = "";
  for (const std::string& file : files_of(value)) {
    const std::string name = trim(file);
    out += comma + (name.empty() ? name : absolute(name));
    comma = ",";
  }
  return out;
}

/// Sets one key. False: a problem was added, and the value is not known.
bool apply(const Key& key, const Given& value, const fs::path& folder, RunConfig& config,
           std::vector<std::string>& problems) {
  const std::string at = value.where + ": " + key.name + ": ";
  std::string text = value.value;
  const bool resume_path = key.name == "checkpoint.resume" && text != "none" && text != "latest";
  const bool vocabulary_path =
      key.name == "data.vocabulary" && text != "text" && text != "checkpoint";
  const bool path = (key.type == "path" || resume_path || vocabulary_path) && !text.empty();
  const bool by_deck = value.from_deck && key.name != "run.output_dir";
  const auto absolute = [&](const std::string& name) {
    if (fs::path(name).is_absolute()) return name;
    return ((by_deck ? folder : working_directory()) / name).lexically_normal().string();
  };
  if (path) text = absolute(text);
  if (key.type == "list of paths") text = absolute_files(text, absolute);
  if ((path || key.type == "list of paths") && !fits_a_deck(text)) {
    problems.push_back(at + "'" + shown(text) +
                       "' has a # (a deck's comment), a control character or a blank at an end; "
                       "allowed paths without");
  } else if (!key.set(config, text)) {
    problems.push_back(at + refusal(key, text));
  } else {
    return true;
  }
  return false;
}

}  // namespace

std::string refusal(const Key& key, const std::string& text) {
  std::string wrong = key.why ? key.why(text) : "";
  if (wrong.empty())
    wrong = is_number(key, text)   ? "is out of range"
            : key.type == "choice" ? "is not one of its values"
                                   : "is not a valid " + key.type;
  const std::string nearest = nearest_value(key, text);
  return "'" + shown(text) + "' " + shown(wrong) + "; allowed " + key.allowed +
         (nearest.empty() ? "" : "; nearest " + nearest);
}

LoadedDeck load_deck_text(const std::string& text, const std::string& display_name,
                          const std::string& folder, const std::vector<std::string>& overrides) {
  DeckReader reader;
  reader.read_text(text, display_name);
  reader.read_overrides(overrides);
  LoadedDeck deck;
  deck.name = fs::path(display_name).stem().string();
  deck.path = display_name;
  deck.warnings = std::move(reader.warnings);
  std::vector<std::string> problems = std::move(reader.problems);
  Origins origins;
  std::set<std::string> unsure = std::move(reader.mistyped);
  for (const Key& key : keys()) {
    const auto found = reader.given.find(key.name);
    if (found == reader.given.end() || found->second.origin == kDefaultOrigin) continue;
    if (!apply(key, found->second, working_directory() / folder, deck.config, problems))
      unsure.insert(key.name);
    origins[key.name] = {found->second.where, !found->second.value.empty()};
  }
  if (deck.config.run.output_dir.empty()) {
    deck.config.run.output_dir = (working_directory() / "runs" / deck.name).string();
    if (!fits_a_deck(deck.config.run.output_dir) && !unsure.contains("run.output_dir"))
      problems.push_back(display_name + ":1: run.output_dir: its default '" +
                         shown(deck.config.run.output_dir) +
                         "' can't stand in a deck; give another");
  }
  set_defaults_of_task(deck.config, origins);
  check(deck.config, origins, display_name, unsure, problems, deck.warnings);
  if (!problems.empty()) {
    std::string all;
    for (const std::string& problem : problems) all += (all.empty() ? "" : "\n") + problem;
    throw DeckError(all);
  }
  for (const Key& key : keys()) {
    const auto found = reader.given.find(key.name);
    deck.entries.push_back({key.name, key.get(deck.config),
                            found == reader.given.end() ? kDefaultOrigin : found->second.origin});
  }
  return deck;
}

LoadedDeck load_deck(const std::string& path, const std::vector<std::string>& overrides) {
  const auto refuse = [&](const std::string& why) {
    throw DeckError(path + ": the deck can't be read: " + why);
  };
  std::error_code error;
  if (fs::is_directory(path, error)) refuse("it is a folder");
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) refuse(std::generic_category().message(errno));
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.bad()) refuse(std::generic_category().message(errno));
  return load_deck_text(text, path, fs::path(path).parent_path().string(), overrides);
}

std::vector<std::string> planning_keys(const LoadedDeck& deck) {
  std::vector<std::string> out;
  for (const ResolvedEntry& e : deck.entries) {
    if (e.key.rfind("plan.", 0) == 0 && e.origin != kDefaultOrigin)
      out.push_back(e.origin + ": " + e.key + " has no effect: --plan alone reads it");
  }
  return out;
}

std::string resolved_text(const LoadedDeck& deck) {
  std::string out = "# Resolved by th_app from " + shown(deck.name) + "; a deck that runs again.\n";
  std::string section;
  for (const ResolvedEntry& e : deck.entries) {
    const auto dot = e.key.find('.');
    if (e.key.substr(0, dot) != section) {
      section = e.key.substr(0, dot);
      out += "\n[" + section + "]\n";
    }
    if (e.value.empty() && e.origin == kDefaultOrigin) continue;
    out += e.key.substr(dot + 1) + " = " + e.value + "  # " + e.origin + "\n";
  }
  return out;
}

std::uint64_t deck_hash(const LoadedDeck& deck) {
  std::uint64_t hash = 0;
  for (const ResolvedEntry& e : deck.entries) hash = hash_text(e.key + "=" + e.value, hash);
  return hash;
}

}  // namespace th::config
