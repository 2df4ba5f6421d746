#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace th::app {

/// A table of texts, which are escaped when it is written.
struct Table {
  enum class Look { kNumbers, kTexts };  ///< columns but the first stand to the right, or wrap
  Look look = Look::kNumbers;
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;
};

/// "<h2 id=…>…</h2>"; the id is made of the page's own words.
[[nodiscard]] std::string html_heading(int level, std::string_view text, std::string_view id = "");
[[nodiscard]] std::string html_paragraph(std::string_view text, std::string_view style = "");
/// Empty where it has no rows.
[[nodiscard]] std::string html_table(const Table& table);
/// Names and values, a row each; values that are empty are left out.
[[nodiscard]] std::string html_facts(const std::vector<std::pair<std::string, std::string>>& facts);
/// What opens at a click, without a script; `body` is HTML.
[[nodiscard]] std::string html_details(std::string_view summary, std::string_view body);

}  // namespace th::app
