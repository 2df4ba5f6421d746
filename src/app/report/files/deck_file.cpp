#include "app/report/files/deck_file.hpp"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "app/report/parts/line_stream.hpp"

namespace th::app {

std::string DeckFile::value(const std::string& key) const {
  for (const DeckLine& line : lines)
    if (line.key == key) return line.value;
  return "";
}

DeckFile read_deck_file(const std::string& path) {
  constexpr std::string_view kFrom = "# Resolved by th_app from ", kName = "; a deck that";
  std::error_code code;
  DeckFile deck;
  if (!std::filesystem::exists(path, code)) return deck;
  LineStream lines(path);
  std::string section;
  for (std::string_view line; lines.next(line);) {
    if (line.starts_with(kFrom)) {
      line.remove_prefix(kFrom.size());
      deck.name = line.substr(0, line.rfind(kName));
    }
    if (line.starts_with("#")) continue;
    if (line.starts_with("[") && line.ends_with("]")) section = line.substr(1, line.size() - 2);
    // A value that is empty leaves "key =  # origin".
    const std::size_t equals = line.find(" ="), origin = line.rfind("  # ");
    if (equals == std::string_view::npos || origin == std::string_view::npos) continue;
    const std::size_t begin = std::min(origin, equals + 3);
    deck.lines.push_back({section + "." + std::string(line.substr(0, equals)),
                          std::string(line.substr(begin, origin - begin)),
                          std::string(line.substr(origin + 4))});
  }
  return deck;
}

}  // namespace th::app
