#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace th::data {

/// Calls visit(word) for the words of a line, which single spaces separate.
template <class Visit>
void for_each_word(std::string_view line, Visit visit) {
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(' '), line.size());
    visit(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
}

/// How often words occur in lines.
class WordCounts {
 public:
  void count(std::string_view line) {
    for_each_word(line, [&](std::string_view word) { ++counts_[std::string(word)]; });
  }
  /// Whether each word of the line occurred at least twice.
  [[nodiscard]] bool know(std::string_view line) const {
    bool known = true;
    for_each_word(line, [&](std::string_view word) {
      const auto found = counts_.find(std::string(word));
      known = known && found != counts_.end() && found->second >= 2;
    });
    return known;
  }

 private:
  std::unordered_map<std::string, std::int64_t> counts_;
};

}  // namespace th::data
