#include "th/config/deck.hpp"

#include "checks.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/config/schema.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace th::config {

namespace fs = std::filesystem;

namespace {

struct Given {
  std::string value, where, origin;
  bool from_deck = false;
};

std::string trim(const std::string& s) {
  const auto first = s.find_first_not_of(" \t\r");
  if (first == std::string::npos) return {};
  return s.substr(first, s.find_last_not_of(" \t\r") - first + 1);
}

class Reader {
 public:
  std::map<std::string, Given> given;
  std::vector<std::string> problems;

  void read_text(const std::string& text, const std::string& file) {
    std::istringstream in(text.rfind("\xef\xbb\xbf", 0) == 0 ? text.substr(3) : text);
    std::string section;
    int number = 0;
    for (std::string raw; std::getline(in, raw);) {
      ++number;
      const std::string where = file + ":" + std::to_string(number);
      const std::string line = trim(raw.substr(0, raw.find('#')));
      if (line.empty()) continue;
      if (line.front() == '[') {
        if (line.back() != ']' || line.size() < 3) {
          problems.push_back(where + ": " + line + ": a section is written [name]");
          continue;
        }
        section = trim(line.substr(1, line.size() - 2));
        continue;
      }
      const auto equals = line.find('=');
      if (equals == std::string::npos) {
        problems.push_back(where + ": " + line + ": a line is written key = value");
        continue;
      }
      const std::string key = trim(line.substr(0, equals));
      add(find_key(key) != nullptr || section.empty() ? key : section + "." + key, {trim(line.substr(equals + 1)), where, "deck:" + std::to_string(number), true});
    }
  }

  void read_overrides(const std::vector<std::string>& overrides) {
    std::set<std::string> seen;
    for (const std::string& item : overrides) {
      const std::string text = item.substr(std::min(item.find_first_not_of('-'), item.size()));
      const auto equals = text.find('=');
      if (equals == std::string::npos || equals == 0) {
        problems.push_back("command line: " + item + ": an override is written section.key=value");
        continue;
      }
      const std::string key = text.substr(0, equals);
      if (!seen.insert(key).second) {
        problems.push_back("command line: " + key + ": given twice");
        continue;
      }
      given.erase(key);
      add(key, {trim(text.substr(equals + 1)), "command line", "command line", false});
    }
  }

 private:
  void add(const std::string& key, Given value) {
    if (find_key(key) == nullptr) {
      problems.push_back(value.where + ": " + key + ": unknown key; nearest " + nearest_key(key));
      return;
    }
    const auto found = given.find(key);
    if (found != given.end()) {
      problems.push_back(value.where + ": " + key + ": given before at " + found->second.where);
      return;
    }
    given.emplace(key, std::move(value));
  }
};

/// Whether the value is one that the table names as known and absent from this build.
bool is_absent(const Key& key, const std::string& value) {
  if (std::find(key.absent.begin(), key.absent.end(), value) != key.absent.end()) return true;
  return std::find(key.absent.begin(), key.absent.end(), "*") != key.absent.end() && value != key.default_value;
}

std::string present_values(const Key& key) {
  if (key.type != "choice" && key.type != "boolean") return key.default_value;
  std::string out;
  std::istringstream in(key.allowed);
  for (std::string value; std::getline(in, value, ',');) {
    value = trim(value);
    if (!is_absent(key, value)) out += (out.empty() ? "" : ", ") + value;
  }
  return out;
}

void apply(const Key& key, const Given& value, const fs::path& folder, RunConfig& config, std::vector<std::string>& problems) {
  const std::string at = value.where + ": " + key.name + ": ";
  std::string text = value.value;
  const bool resume_path = key.name == "checkpoint.resume" && text != "none" && text != "latest" && !text.empty();
  if ((key.type == "path" || resume_path) && !text.empty() && !fs::path(text).is_absolute()) {
    const bool by_deck = value.from_deck && key.name != "run.output_dir";
    text = ((by_deck ? folder : fs::current_path()) / text).lexically_normal().string();
  }
  if (!key.set(config, text)) {
    problems.push_back(at + "'" + text + "' is not " + (key.type == "choice" ? "one of its values" : "a valid " + key.type) + "; allowed " + key.allowed);
  } else if (is_absent(key, key.get(config))) {
    problems.push_back(at + "'" + text + "' is not part of this build; allowed " + present_values(key));
  }
}

}  // namespace

LoadedDeck load_deck_text(const std::string& text, const std::string& display_name, const std::string& folder, const std::vector<std::string>& overrides) {
  Reader reader;
  reader.read_text(text, display_name);
  reader.read_overrides(overrides);
  LoadedDeck deck;
  deck.name = fs::path(display_name).stem().string();
  std::vector<std::string> problems = std::move(reader.problems);
  Origins origins;
  for (const Key& key : keys()) {
    const auto found = reader.given.find(key.name);
    if (found == reader.given.end()) continue;
    apply(key, found->second, fs::absolute(folder), deck.config, problems);
    origins[key.name] = found->second.where;
  }
  if (deck.config.run.output_dir.empty()) deck.config.run.output_dir = (fs::current_path() / "runs" / deck.name).string();
  if (problems.empty()) check(deck.config, origins, display_name, problems, deck.warnings);
  if (!problems.empty()) {
    std::string all;
    for (const std::string& problem : problems) all += (all.empty() ? "" : "\n") + problem;
    throw DeckError(all);
  }
  for (const Key& key : keys()) {
    const auto found = reader.given.find(key.name);
    deck.entries.push_back({key.name, key.get(deck.config), found == reader.given.end() ? "default" : found->second.origin});
  }
  return deck;
}

LoadedDeck load_deck(const std::string& path, const std::vector<std::string>& overrides) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || fs::is_directory(path) || !(text << in.rdbuf())) throw DeckError(path + ": the deck can't be read");
  return load_deck_text(text.str(), path, fs::path(path).parent_path().string(), overrides);
}

std::string resolved_text(const LoadedDeck& deck) {
  std::string out = "# Resolved by th_app from " + deck.name + "; a deck that runs again.\n";
  std::string section;
  for (const ResolvedEntry& e : deck.entries) {
    const auto dot = e.key.find('.');
    if (e.key.substr(0, dot) != section) {
      section = e.key.substr(0, dot);
      out += "\n[" + section + "]\n";
    }
    if (e.value.empty()) continue;
    out += e.key.substr(dot + 1) + " = " + e.value + "  # " + e.origin + "\n";
  }
  return out;
}

std::uint64_t deck_hash(const LoadedDeck& deck) {
  std::uint64_t hash = 0;
  for (const ResolvedEntry& e : deck.entries) hash = hash_text(e.key + "=" + e.value, hash);
  return hash;
}

std::vector<KeyDifference> compare_for_resume(const std::string& checkpoint_deck, const LoadedDeck& given) {
  static const std::set<std::string> kFatal{"data.synthetic", "data.synthetic_length", "data.tokenizer", "data.vocab_size", "data.min_freq", "data.max_length", "data.empty_lines",
                                            "data.batch_size", "data.batch_tokens", "data.sort_window", "run.seed", "optimizer.name", "data.train_source", "data.train_target"};
  static const std::set<std::string> kExpected{"run.output_dir", "checkpoint.resume", "checkpoint.init_from", "train.micro_batches"};
  const LoadedDeck before = load_deck_text(checkpoint_deck, "checkpoint", "/", {});
  std::vector<KeyDifference> out;
  for (std::size_t i = 0; i < given.entries.size(); ++i) {
    const ResolvedEntry& now = given.entries[i];
    const ResolvedEntry& then = before.entries[i];
    if (now.value == then.value || kExpected.contains(now.key)) continue;
    const bool path = now.key.rfind("data.train_", 0) == 0;
    const bool model = now.key.rfind("model.", 0) == 0 && now.key != "model.gradient_checkpointing";
    const bool moved = path && fs::path(now.value).filename() == fs::path(then.value).filename();
    out.push_back({now.key, then.value, now.value, (model || kFatal.contains(now.key)) && !moved});
  }
  return out;
}

}  // namespace th::config
