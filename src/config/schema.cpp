#include "th/config/schema.hpp"

#include "config/key_table.hpp"
#include "th/base/error.hpp"

#include <algorithm>
#include <cctype>
#include <set>
#include <sstream>

namespace th::config {

namespace {

std::string section_of(const Key& key) { return key.name.substr(0, key.name.find('.')); }

/// The key's help, and whether a resume may change its value.
std::string meaning(const Key& key) {
  return key.help + (key.on_resume == OnResume::kFixed ? " A resume needs the same value." : "");
}

/// Whether `text` holds the word, in letters of any size; "_" and "." end a word as blanks do.
bool holds_word(const std::string& text, const std::string& word) {
  const auto letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  for (auto at = text.begin(); at != text.end(); ++at) {
    at = std::search(at, text.end(), word.begin(), word.end(), same);
    if (at == text.end()) return false;
    const auto end = at + static_cast<std::ptrdiff_t>(word.size());
    if ((at == text.begin() || !letter(*(at - 1))) && (end == text.end() || !letter(*end)))
      return true;
  }
  return false;
}

/// What --explain shows for a name: the key, the section's keys, all for an empty name, else those
/// whose name, values or text hold it as a word.
std::vector<const Key*> keys_of(const std::string& name) {
  std::vector<const Key*> named, mentioned;
  for (const Key& key : keys()) {
    if (name.empty() || key.name == name || section_of(key) == name) named.push_back(&key);
    if (!name.empty() &&
        (holds_word(key.name, name) || holds_word(key.allowed, name) || holds_word(key.help, name)))
      mentioned.push_back(&key);
  }
  return named.empty() ? mentioned : named;
}

/// The text in indented lines of at most 100 columns.
std::string indented_lines(const std::string& text) {
  constexpr std::size_t kColumns = 100;
  const std::string margin = "   ";  // and the blank before each word
  std::string lines, line = margin;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (line != margin && line.size() + 1 + word.size() > kColumns) {
      lines += line + "\n";
      line = margin;
    }
    line += " " + word;
  }
  return lines + line + "\n";
}

std::string explained(const Key& key) {
  return key.name + " = " + key.default_value + "\n" +
         indented_lines(key.type + ", " + key.allowed) + indented_lines(meaning(key));
}

constexpr const char* kReferenceIntroduction =
    "# Deck reference\n"
    "\n"
    "This page is made from the key table (`th_app --explain` prints the same), and a test "
    "compares the two. Do not edit it:\n"
    "run `TH_WRITE_DOCS=1 build/bin/th_test_config` after a change of the table.\n"
    "\n"
    "A deck is a text file of `[section]` lines, `key = value` lines and `#` comments, which may "
    "also end a line. A key may\n"
    "carry its section, as in `model.d_model = 512`. There are no quotes: a value goes from the "
    "`=` to the end of the line or\n"
    "to a `#`. After the deck, the command line takes any key as `section.key=value` or "
    "`--section.key=value`, each once;\n"
    "such a value replaces the deck's.\n"
    "\n"
    "Paths in a deck are relative to the deck. Paths on the command line, and `run.output_dir` "
    "everywhere, are relative to\n"
    "the working directory. Numbers are read as a whole: `64x`, `1.5` for an integer, `nan` and an "
    "empty value are refused.\n"
    "All problems of a deck come in one report, a line each, with the file and the line, before "
    "anything is allocated, and\n"
    "the exit code is 2. A known key that has no effect in the run is a warning.\n"
    "\n"
    "`th_app DECK --check` prints the deck with every key, its value and where that came from, as "
    "a deck that can be run. In\n"
    "a deck, a line that holds the default and ends in `# default` counts as not given.\n";

}  // namespace

const std::vector<Key>& keys() {
  static const std::vector<Key> table = [] {
    std::vector<Key> t;
    add_run(t);
    add_model(t);
    add_data(t);
    add_train(t);
    add_optimizer(t);
    add_schedule(t);
    add_precision(t);
    add_zero(t);
    add_comm(t);
    add_checkpoint(t);
    add_decode(t);
    add_summarization(t);
    add_valid(t);
    add_monitor(t);
    add_profile(t);
    add_plan(t);
    return t;
  }();
  return table;
}

const Key* find_key(const std::string& name) {
  const auto& table = keys();
  const auto found =
      std::find_if(table.begin(), table.end(), [&](const Key& k) { return k.name == name; });
  return found == table.end() ? nullptr : &*found;
}

std::string explain(const std::vector<std::string>& names) {
  std::string out, unknown;
  std::set<std::string> told;
  for (const std::string& name : names.empty() ? std::vector<std::string>{""} : names) {
    const std::vector<const Key*> found = keys_of(name);
    if (found.empty())
      unknown +=
          (unknown.empty() ? "" : "\n") + name + ": unknown key; nearest " + nearest_key(name);
    for (const Key* key : found) {
      if (told.insert(key->name).second) out += explained(*key);
    }
  }
  if (!unknown.empty()) throw DeckError(unknown);
  return out;
}

std::string explain(const std::string& name) { return explain(std::vector<std::string>{name}); }

std::string deck_reference_markdown() {
  std::string out = kReferenceIntroduction;
  std::string section;
  for (const Key& k : keys()) {
    if (section_of(k) != section) {
      section = section_of(k);
      out += "\n## " + section +
             "\n\n| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n";
    }
    out += "| " + k.name + " | " + k.type + " | " + k.default_value +
           (k.default_value.empty() ? "| " : " | ") + k.allowed + " | " + meaning(k) + " |\n";
  }
  return out;
}

}  // namespace th::config
