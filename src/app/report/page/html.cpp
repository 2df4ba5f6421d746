#include "app/report/page/html.hpp"

#include "app/report/parts/text_form.hpp"

namespace th::app {

namespace {

std::string attribute(const char* name, std::string_view value) {
  return value.empty() ? "" : std::string(" ") + name + "=\"" + escaped(value) + "\"";
}

}  // namespace

std::string html_heading(int level, std::string_view text, std::string_view id) {
  const std::string tag = std::string("h").append(std::to_string(level));
  std::string out = "<";
  out.append(tag).append(attribute("id", id)).append(">").append(escaped(text));
  return out.append("</").append(tag).append(">\n");
}

std::string html_paragraph(std::string_view text, std::string_view style) {
  return text.empty() ? "" : "<p" + attribute("class", style) + ">" + escaped(text) + "</p>\n";
}

std::string html_table(const Table& table) {
  if (table.rows.empty()) return "";
  std::string out = "<div class=\"wide\"><table";
  out += table.look == Table::Look::kNumbers ? " class=\"numbers\">" : ">";
  out += "\n<thead><tr>";
  for (const std::string& cell : table.head) out += "<th scope=\"col\">" + escaped(cell) + "</th>";
  out += "</tr></thead>\n<tbody>\n";
  for (const std::vector<std::string>& row : table.rows) {
    out += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i)
      out += (i == 0 ? "<th scope=\"row\" dir=\"auto\">" : "<td dir=\"auto\">") + escaped(row[i]) +
             (i == 0 ? "</th>" : "</td>");
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string html_facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  std::string rows;
  for (const auto& [name, value] : facts)
    if (!value.empty())
      rows +=
          "<tr><th scope=\"row\">" + escaped(name) + "</th><td>" + escaped(value) + "</td></tr>\n";
  return rows.empty() ? "" : "<div class=\"wide\"><table>\n" + rows + "</table></div>\n";
}

std::string html_details(std::string_view summary, std::string_view body) {
  if (body.empty()) return "";
  return "<details><summary>" + escaped(summary) + "</summary>\n" + std::string(body) +
         "</details>\n";
}

}  // namespace th::app
