#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace th::app {

/// A line of metrics.jsonl, as the names of its members and the text of their values. The form in
/// which th_app writes step records is read without the JSON library, which makes a tree of each.
class Record {
 public:
  /// False where the line is no JSON object. The line must outlive what is asked of the record.
  [[nodiscard]] bool parse(std::string_view line);
  /// Empty for a member that is missing, null, or no number.
  [[nodiscard]] std::optional<double> number(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  /// Of a text, or the JSON of another value; empty where the member is missing.
  [[nodiscard]] std::string_view text(std::string_view name) const;

 private:
  [[nodiscard]] bool parse_plain(std::string_view line);
  [[nodiscard]] bool parse_json_line(std::string_view line);
  [[nodiscard]] const std::string_view* find(std::string_view name) const;

  std::vector<std::pair<std::string_view, std::string_view>> members_;
  std::deque<std::string> owned_;  ///< of a line that the JSON library read
};

}  // namespace th::app
