#include "config/mistaken_word.hpp"

#include "config/foreign_keys.hpp"
#include "config/nearest.hpp"
#include "th/config/schema.hpp"

#include <algorithm>

namespace th::config {

namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

bool is_name(const std::string& text) {
  return !text.empty() && is_letter(text.front()) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
         });
}

/// Whether the word behind an option is its value and no deck.
bool is_value(const std::string& next) {
  if (next.empty() || next.ends_with(".in") || next.find('=') != std::string::npos) return false;
  return next.front() != '-' || (next.size() > 1 && !is_letter(next[1]) && next[1] != '-');
}

/// "train.epochs=3"; where the value is none of the key's, what the key takes.
std::string assignment(const std::string& name, const std::string& value) {
  const Key& key = *find_key(name);
  RunConfig config;
  if (!value.empty() && key.set(config, value)) return name + "=" + value;
  if (value.empty() && key.type == "boolean") return name + "=true";
  return name + "=VALUE (" + key.allowed + ")";
}

std::string assignments(const std::vector<std::string>& names, const std::string& value) {
  std::string out;
  for (const std::string& name : names)
    out += (out.empty() ? "" : " or ") + assignment(name, value);
  return out;
}

}  // namespace

std::optional<MistakenWord> mistaken_word(const std::string& word, const std::string& next,
                                          const std::vector<std::string>& options) {
  const std::size_t dashes = std::min(word.find_first_not_of('-'), word.size());
  const std::size_t equals = word.find('=');
  const bool valued = equals != std::string::npos;
  const std::string name = word.substr(dashes, valued ? equals - dashes : equals);
  if (dashes > 2 || !is_name(name)) return std::nullopt;
  const bool sectioned = name.find('.') != std::string::npos;
  if (dashes == 0) {
    const bool deck = !valued || sectioned || word.ends_with(".in");
    const std::vector<std::string> meant = deck ? std::vector<std::string>() : keys_meant(name);
    if (meant.empty()) return std::nullopt;
    return MistakenWord{"'" + word + "' lacks the key's section; write " +
                        assignments(meant, word.substr(equals + 1))};
  }
  const std::string option = word.substr(0, equals);
  if (std::find(options.begin(), options.end(), option) != options.end()) return std::nullopt;
  const bool takes = !valued && is_value(next);
  const std::string value = valued ? word.substr(equals + 1) : takes ? next : "";
  const std::string unknown = "unknown option " + option + "; ";
  if (sectioned)
    return MistakenWord{unknown + "a key is given as " + word + "=" + (takes ? next : "value"),
                        takes};
  if (const std::string_view advice = meaning_of(plain_name(name), foreign_options());
      !advice.empty())
    return MistakenWord{unknown + std::string(advice), takes};
  const std::string near = nearest_word(option, options);
  const std::vector<std::string> meant =
      near.empty() ? keys_meant(name) : std::vector<std::string>();
  if (!meant.empty())
    return MistakenWord{unknown + "a key has its section: write " + assignments(meant, value),
                        takes};
  return MistakenWord{unknown + "allowed --section.key=value and the options of --help" +
                      (near.empty() ? "" : "; nearest " + near)};
}

}  // namespace th::config
