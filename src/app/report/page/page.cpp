#include "app/report/page/page.hpp"

#include <algorithm>
#include <array>
#include <ctime>

#include "app/report/page/html.hpp"
#include "app/report/page/run_section.hpp"
#include "app/report/page/style.hpp"
#include "app/report/parts/text_form.hpp"
#include "th/base/build_info.hpp"

namespace th::app {

namespace {

std::string now_text() {
  const std::time_t time = std::time(nullptr);
  std::tm local{};
  std::array<char, 32> text{};
  if (localtime_r(&time, &local) != nullptr)
    std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &local);
  return text.data();
}

std::string title_of(const std::vector<RunData>& runs) {
  if (runs.size() == 1) return "Run " + runs[0].name;
  return std::to_string(runs.size()) + " runs of th_app";
}

std::string last_or_none(const Series& series) {
  return series.empty() ? "" : number_form(series.last().y);
}

std::string test_scores_of(const RunData& run) {
  std::string text;
  for (const TestScore& score : run.metrics.test_scores)
    text += (text.empty() ? "" : ", ") + score.metric + " " + number_form(score.value, 4);
  return text;
}

std::string overview(const std::vector<RunData>& runs) {
  Table table;
  table.head = {"run",        "end",      "step",     "epochs", "training loss",  "validation",
                "its lowest", "test set", "tokens/s", "ranks",  "memory planned", "measured"};
  for (const RunData& run : runs) {
    const MetricsFile& metrics = run.metrics;
    const double mean = metrics.mean_rate();
    const std::string rate = mean > 0 ? count_form(static_cast<std::int64_t>(mean)) : "";
    const auto bytes = [](double value) { return value > 0 ? bytes_form(value) : std::string(); };
    table.rows.push_back(
        {run.name, run.end(), count_form(metrics.last_step), count_form(metrics.epochs),
         last_or_none(metrics.loss), last_or_none(metrics.valid_loss),
         metrics.valid_loss.empty() ? "" : number_form(metrics.valid_loss.lowest().y),
         test_scores_of(run), rate, run.ranks() == 0 ? "" : count_form(run.ranks()),
         bytes(run.planned_bytes()), bytes(run.measured_bytes())});
  }
  return html_table(table);
}

/// The keys that do not have the same value in all decks, a column a run.
std::string differing_keys(const std::vector<RunData>& runs) {
  std::vector<std::string> keys;
  for (const RunData& run : runs)
    for (const DeckLine& line : run.deck.lines)
      if (std::find(keys.begin(), keys.end(), line.key) == keys.end()) keys.push_back(line.key);
  Table table;
  table.look = Table::Look::kTexts;
  table.head = {"key"};
  for (const RunData& run : runs) table.head.push_back(run.name);
  for (const std::string& key : keys) {
    std::vector<std::string> row{key};
    for (const RunData& run : runs) row.push_back(run.deck.value(key));
    if (key == "run.output_dir" ||
        std::all_of(row.begin() + 2, row.end(), [&](const auto& v) { return v == row[1]; }))
      continue;
    table.rows.push_back(std::move(row));
  }
  return html_heading(2, "Keys that differ", "keys") +
         (table.rows.empty()
              ? html_paragraph("The decks are the same but for run.output_dir.", "soft")
              : html_table(table));
}

std::string pictures_html(const std::vector<DrawnPicture>& pictures) {
  std::string out = html_heading(2, "Pictures", "pictures") + "<div class=\"pictures\">\n";
  for (const DrawnPicture& drawn : pictures) {
    out += "<figure id=\"" + escaped(drawn.picture.name) + "\">\n";
    out += html_heading(3, drawn.picture.title) + drawn.svg;
    if (!drawn.picture.note.empty())
      out += "<figcaption>" + escaped(drawn.picture.note) + "</figcaption>\n";
    out += "</figure>\n";
  }
  return out + "</div>\n";
}

/// What would be looked for and is not there, with its reason.
std::string missing_pictures(const std::vector<RunData>& runs,
                             const std::vector<DrawnPicture>& pictures) {
  const auto drawn = [&](const char* name) {
    return std::any_of(pictures.begin(), pictures.end(),
                       [&](const DrawnPicture& d) { return d.picture.name == name; });
  };
  std::string out;
  if (!drawn("valid_loss"))
    out += html_paragraph(runs.size() == 1 ? "The run has no validation: no picture of it."
                                           : "No run has a validation: no picture of it.",
                          "soft");
  if (!drawn("memory_over_steps"))
    out += html_paragraph(
        "Memory over steps, and the phases of a step, come from TensorBoard's "
        "files (monitor.tensorboard), which are not there.",
        "soft");
  return out;
}

std::string navigation(const std::vector<RunData>& runs) {
  std::string out = "<nav><a href=\"#pictures\">Pictures</a>\n";
  if (runs.size() > 1) out += "<a href=\"#keys\">Keys that differ</a>\n";
  for (std::size_t i = 0; i < runs.size(); ++i)
    out += "<a href=\"#run-" + std::to_string(i + 1) + "\">" + escaped(runs[i].name) + "</a>\n";
  return out + "</nav>\n";
}

/// The policy keeps a browser from running or fetching anything, whatever a log holds.
std::string head_html(const std::string& title, const std::string& program) {
  return kPageBegin + escaped(" " + program) + "\">\n" +
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
         "style-src 'unsafe-inline'\">\n<title>" +
         escaped(title) + "</title>\n<style>" + kPageStyle + "</style>\n</head>\n<body>\n";
}

}  // namespace

std::string page_of(const std::vector<RunData>& runs, const std::vector<DrawnPicture>& pictures) {
  const std::string title = title_of(runs), program = build_line();
  std::string out = head_html(title, program);
  out += html_heading(1, title) + navigation(runs) + "<main>\n" + overview(runs);
  out += pictures_html(pictures) + missing_pictures(runs, pictures);
  if (runs.size() > 1) out += differing_keys(runs);
  for (std::size_t i = 0; i < runs.size(); ++i)
    out += html_heading(2, "Run " + runs[i].name, "run-" + std::to_string(i + 1)) +
           run_section(runs[i]);
  return out + "</main>\n<footer>" + escaped("Made by th_report " + program + " on " + now_text()) +
         "</footer>\n</body>\n</html>\n";
}

}  // namespace th::app
