#include "th/config/file_keys.hpp"

#include "th/config/schema.hpp"

#include <string_view>
#include <vector>

// Which key of a deck names a file.
namespace th::config {

namespace {

/// "a.in:7" of a value's origin.
std::string place_of(const LoadedDeck& deck, const std::string& origin) {
  constexpr std::string_view kLine = "deck:";
  return origin.starts_with(kLine) ? deck.path + ":" + origin.substr(kLine.size()) : origin;
}

}  // namespace

std::string with_key_of_file(const LoadedDeck& deck, const std::string& message) {
  for (const ResolvedEntry& entry : deck.entries) {
    const std::string& type = find_key(entry.key)->type;
    if (type != "path" && type != "list of paths") continue;
    for (const std::string& file :
         type == "path" ? std::vector<std::string>{entry.value} : files_of(entry.value)) {
      if (!file.empty() && message.starts_with(file + ": "))
        return place_of(deck, entry.origin) + ": " + entry.key + ": " + message;
    }
  }
  return message;
}

}  // namespace th::config
