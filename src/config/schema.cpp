#include "th/config/schema.hpp"

#include "config/key_table.hpp"
#include "th/base/error.hpp"

#include <algorithm>
#include <numeric>

namespace th::config {

namespace {

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = up;
    }
  }
  return row[b.size()];
}

/// The words of a key in the order of the alphabet, so that head_num is near num_heads.
std::string sorted_words(const std::string& name) {
  std::vector<std::string> words(1);
  for (const char c : name) {
    if (c == '_' || c == '.')
      words.emplace_back();
    else
      words.back() += c;
  }
  std::sort(words.begin(), words.end());
  std::string out;
  for (const std::string& word : words) out += word + "_";
  return out;
}

std::string section_of(const Key& key) { return key.name.substr(0, key.name.find('.')); }

/// The values that the table knows and this build does not have, as a reader names them; empty: it
/// has all.
std::string absent_values(const Key& key) {
  std::string out;
  for (const std::string& value : key.absent)
    out += (out.empty() ? "" : ", ") +
           (value == "*" ? std::string("another value than the default") : value);
  return out;
}

constexpr const char* kReferenceIntroduction =
    "# Deck reference\n"
    "\n"
    "Made from the key table (`th_app --explain` prints the same); a test compares the two. Do "
    "not edit it: run\n"
    "`TH_WRITE_DOCS=1 build/bin/th_test_config` after a change of the table.\n"
    "\n"
    "A deck is a text file of `[section]` lines, `key = value` lines and `#` comments, which "
    "may also end a line. A key may carry its section,\n"
    "as in `model.d_model = 512`. There are no quotes: a value goes from the `=` to the end of "
    "the line or to a `#`. After the deck, the command\n"
    "line takes any key as `section.key=value` or `--section.key=value`, each once; such a "
    "value stands in place of the deck's.\n"
    "\n"
    "Paths in a deck are relative to the deck; paths on the command line, and `run.output_dir` "
    "everywhere, to the working directory. Numbers are\n"
    "read as a whole: `64x`, `1.5` for an integer, `nan` and an empty value are refused. All "
    "problems of a deck come in one report, a line each,\n"
    "with the file and the line, before anything is allocated, and the exit code is 2. A known "
    "key that has no effect in the run is a warning.\n"
    "\n"
    "`th_app DECK --check` prints the deck with every key, its value and where that came from, "
    "as a deck that can be run. In a deck, a line that\n"
    "holds the default and ends in `# default` counts as not given.\n";

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

std::string nearest_key(const std::string& name) {
  // No key is near that long; a line of a wrong file may be any length.
  constexpr std::size_t kCompared = 80;
  std::string nearest;
  std::size_t least = std::string::npos;
  const std::string asked = name.substr(0, kCompared);
  for (const Key& key : keys()) {
    const std::size_t distance =
        std::min(edit_distance(asked, key.name),
                 1 + edit_distance(sorted_words(asked), sorted_words(key.name)));
    if (distance >= least) continue;
    least = distance;
    nearest = key.name;
  }
  return nearest;
}

std::string explain(const std::string& name) {
  std::string out;
  for (const Key& k : keys()) {
    if (!name.empty() && k.name != name && section_of(k) != name) continue;
    out += k.name + " = " + k.default_value + "\n    " + k.type + ", " + k.allowed + "\n    " +
           k.help + "\n";
    const std::string absent = absent_values(k);
    if (!absent.empty()) out += "    not part of this build: " + absent + "\n";
  }
  if (out.empty()) throw DeckError(name + ": unknown key; nearest " + nearest_key(name));
  return out;
}

std::string deck_reference_markdown() {
  std::string out = kReferenceIntroduction;
  std::string section;
  for (const Key& k : keys()) {
    if (section_of(k) != section) {
      section = section_of(k);
      out += "\n## " + section +
             "\n\n| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n";
    }
    const std::string absent = absent_values(k);
    out += "| " + k.name + " | " + k.type + " | " + k.default_value +
           (k.default_value.empty() ? "| " : " | ") + k.allowed + " | " + k.help +
           (absent.empty() ? "" : ". Not part of this build: " + absent) + " |\n";
  }
  return out;
}

}  // namespace th::config
