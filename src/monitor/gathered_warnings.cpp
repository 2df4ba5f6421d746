#include "th/monitor/gathered_warnings.hpp"

#include <algorithm>
#include <cstdint>

namespace th::monitor {

namespace {

struct Entry {
  std::string text;
  std::vector<std::size_t> ranks;  ///< each once, rising
  std::int64_t times = 0;
};

}  // namespace

std::vector<std::string> gathered_warnings(std::span<const std::vector<std::string>> texts,
                                           std::span<const std::string> hosts) {
  std::vector<Entry> entries;
  for (std::size_t r = 0; r < texts.size(); ++r) {
    for (const std::string& text : texts[r]) {
      auto entry = std::find_if(entries.begin(), entries.end(),
                                [&](const Entry& e) { return e.text == text; });
      if (entry == entries.end()) entry = entries.insert(entries.end(), {text, {}, 0});
      if (entry->ranks.empty() || entry->ranks.back() != r) entry->ranks.push_back(r);
      ++entry->times;
    }
  }
  std::vector<std::string> lines;
  for (const Entry& entry : entries) {
    const std::size_t first = entry.ranks.front();
    std::string who = "rank " + std::to_string(first) + " on " + hosts[first];
    if (entry.ranks.size() > 1)
      who = std::to_string(entry.ranks.size()) + " ranks, the first is " + who;
    if (entry.times > static_cast<std::int64_t>(entry.ranks.size()))
      who += ", " + std::to_string(entry.times) + " times";
    lines.push_back("[" + who + "] " + entry.text);
  }
  return lines;
}

}  // namespace th::monitor
