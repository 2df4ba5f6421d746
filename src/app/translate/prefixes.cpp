#include "app/translate/prefixes.hpp"

#include "app/stream/line_source.hpp"
#include "app/translate/require.hpp"

#include <algorithm>
#include <filesystem>
#include <sstream>

namespace th::app {

namespace {

/// "the word 'zzz' is", of those that the vocabulary lacks, at most three by name.
std::string unknown_words(const data::Tokenizer& target, std::string_view line) {
  constexpr std::size_t kNamed = 3;
  std::vector<std::string> words;
  std::istringstream rest{std::string(line)};
  for (std::string word; rest >> word;) {
    const bool is_new = std::find(words.begin(), words.end(), word) == words.end();
    if (is_new && has_unknown(target.encode(word))) words.push_back(word);
  }
  if (words.empty()) return "some of its characters are";
  std::string text;
  for (std::size_t i = 0; i < std::min(words.size(), kNamed); ++i)
    text += (i > 0 ? ", '" : "'") + words[i] + "'";
  if (words.size() > kNamed) text += " and " + std::to_string(words.size() - kNamed) + " more";
  return words.size() == 1 ? "the word " + text + " is" : "the words " + text + " are";
}

}  // namespace

std::string line_place(const std::string& file, std::uint64_t number) {
  return file + ":" + std::to_string(number + 1) + ": ";
}

std::vector<std::int32_t> prefix_ids(const data::Tokenizer& target, std::string_view line,
                                     const std::string& place, const LongestPrefix& longest) {
  std::vector<std::int32_t> ids = target.encode(line);
  if (has_unknown(ids))
    throw DeckError(place + "the prefix '" + std::string(line) +
                    "': " + unknown_words(target, line) +
                    " outside the target vocabulary, and no translation can have it");
  require(std::ssize(ids) <= longest.ids, place + "a prefix of " + std::to_string(ids.size()) +
                                              " ids is longer than " + longest.text);
  return ids;
}

void check_prefixes(const std::string& file, const data::Tokenizer& target,
                    const LongestPrefix& longest) {
  if (file.empty() || !std::filesystem::is_regular_file(file)) return;
  LineSource lines(file, [] { return true; });
  std::string text, fault;
  for (std::uint64_t number = 0; lines.next(text, fault); ++number) {
    if (!fault.empty()) throw DataError(fault);
    (void)prefix_ids(target, text, line_place(file, number), longest);
  }
}

}  // namespace th::app
