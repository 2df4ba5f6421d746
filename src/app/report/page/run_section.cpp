#include "app/report/page/run_section.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

#include "app/report/page/html.hpp"
#include "app/report/parts/text_form.hpp"
#include "app/report/pictures/run_pictures.hpp"

namespace th::app {

namespace {

std::string plural(std::int64_t count, const char* one, const char* many) {
  return count_form(count) + " " + (count == 1 ? one : many);
}

/// What a reader has to know before he believes the rest.
std::string troubles_html(const RunData& run) {
  const MetricsFile& metrics = run.metrics;
  std::string out;
  const auto add = [&](const std::string& text) { out += html_paragraph(text, "trouble"); };
  if (metrics.steps == 0) add("metrics.jsonl has no record of a step yet.");
  if (metrics.damaged > 0)
    add("metrics.jsonl: " + plural(metrics.damaged, "line is", "lines are") +
        " no record and left out, the first one is line " + count_form(metrics.first_damaged) +
        ".");
  if (metrics.torn && !run.under_way)
    add("metrics.jsonl: the last line was not written whole; it is left out.");
  if (metrics.skipped > 0)
    add(plural(metrics.skipped, "step", "steps") +
        " had a loss or gradients that were not finite and updated nothing.");
  if (!run.checkpoints.trouble.empty())
    add("A checkpoint can't be read: " + run.checkpoints.trouble);
  return out;
}

std::string facts_html(const RunData& run) {
  const MetricsFile& metrics = run.metrics;
  const CheckpointList& checkpoints = run.checkpoints;
  std::string end = run.end();
  if (const std::string reason = run.reason(); !reason.empty()) end += ": " + reason;
  const auto& summary = metrics.summary;
  std::string rate;
  if (const double mean = metrics.mean_rate(); mean > 0)
    rate = count_form(static_cast<std::int64_t>(mean)) + " tokens/s";
  std::string padding;
  if (summary && summary->padding_fraction)
    padding = number_form(100 * *summary->padding_fraction, 3) + " % of the rows";
  std::string continuations;
  for (const std::string& line : run.log.continuations)
    continuations += (continuations.empty() ? "" : "\n") + line;
  std::string files;
  for (const std::string& name : run.traces) files += (files.empty() ? "" : ", ") + name;
  const std::int64_t ranks = run.ranks();
  return html_facts({{"folder", run.path},
                     {"end", end},
                     {"last step", count_form(metrics.last_step) + ", " +
                                       plural(metrics.epochs, "epoch", "epochs") + " done"},
                     {"run", run.id + (run.parent.empty() ? "" : ", from run " + run.parent)},
                     {"identity", run.identity()},
                     {"build", checkpoints.build},
                     {"ranks", ranks == 0 ? "" : count_form(ranks)},
                     {"ZeRO", run.log.zero},
                     {"parameters", run.log.parameters},
                     {"dataset", run.log.dataset},
                     {"vocabulary", run.log.vocabulary},
                     {"communication beside compute", run.log.overlap},
                     {"rate", rate},
                     {"padding", padding},
                     {"log", run.log.begin.empty() ? "" : run.log.begin + " to " + run.log.end},
                     {"taken up again", continuations},
                     {"gives", run.log.final_choice},
                     {"other files", files}});
}

void add_score(Table& table, const std::string& name, const Series& series,
               const std::string& signature) {
  if (series.empty()) return;
  const auto at = [](const Series::Point& point) {
    return number_form(point.y) + " (step " + number_form(point.x, 15) + ")";
  };
  table.rows.push_back({name, count_form(series.count()), number_form(series.last().y),
                        at(series.lowest()), at(series.highest()), signature});
}

std::string scores_html(const RunData& run) {
  const MetricsFile& metrics = run.metrics;
  Table valid, test;
  valid.head = {"validation", "times", "last", "lowest", "highest", "signature"};
  add_score(valid, "loss", metrics.valid_loss, "");
  for (const auto& [metric, series] : metrics.valid_scores) {
    const auto signature = metrics.signatures.find(metric);
    add_score(valid, metric, series,
              signature == metrics.signatures.end() ? "" : signature->second);
  }
  test.head = {"test set", "value", "step", "signature"};
  for (const TestScore& score : metrics.test_scores)
    test.rows.push_back(
        {score.metric, number_form(score.value), count_form(score.step), score.signature});
  const std::string none =
      valid.rows.empty() ? html_paragraph("There was no validation.", "soft") : "";
  return html_heading(3, "Scores") + none + html_table(valid) + html_table(test);
}

std::string percent(double share) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %%", 100 * share);
  return text.data();
}

std::string difference(double planned, double measured) {
  if (!(planned > 0)) return "";
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%+.1f %%", 100 * (measured / planned - 1));
  return text.data();
}

/// Least and greatest of the ranks, where they differ.
std::string range_of(const std::vector<std::int64_t>& bytes) {
  if (bytes.empty()) return "";
  const auto [low, high] = std::minmax_element(bytes.begin(), bytes.end());
  const std::string least = bytes_form(static_cast<double>(*low)),
                    most = bytes_form(static_cast<double>(*high));
  return least == most ? most : least + " to " + most;
}

std::string memory_html(const RunData& run) {
  Table classes;
  classes.head = {"memory of a rank", "planned", "measured", "difference"};
  for (const MemoryClassBytes& row : run.log.memory)
    classes.rows.push_back({row.name, bytes_form(row.planned), bytes_form(row.measured),
                            difference(row.planned, row.measured)});
  std::vector<std::pair<std::string, std::string>> peaks;
  if (const auto& summary = run.metrics.summary)
    peaks = {{"planned peak of a rank", range_of(summary->planned_bytes)},
             {"measured peak", range_of(summary->measured_bytes)},
             {"model state", range_of(summary->model_state_bytes)},
             {"resident set, peak", range_of(summary->peak_rss_bytes)},
             {"sent by a rank", range_of(summary->bytes_sent)}};
  const std::string body = html_table(classes) + html_facts(peaks);
  return body.empty() ? "" : html_heading(3, "Memory") + body;
}

std::string time_html(const RunData& run) {
  Table table;
  table.head = {"phase", "time", "share"};
  const std::vector<PhaseSeconds> phases = phases_of(run);
  double sum = 0;
  for (const PhaseSeconds& phase : phases) sum += phase.seconds;
  for (const PhaseSeconds& phase : phases)
    table.rows.push_back({phase.name, seconds_form(phase.seconds), percent(phase.seconds / sum)});
  std::string body = html_table(table);
  for (const std::string& line : run.log.traces) body += html_paragraph(line);
  return body.empty() ? "" : html_heading(3, "Time") + body;
}

std::string samples_table(const std::vector<Sample>& samples) {
  Table table;
  table.look = Table::Look::kTexts;
  table.head = {"source", "reference", "hypothesis"};
  for (const Sample& sample : samples)
    table.rows.push_back({sample.source, sample.reference, sample.hypothesis});
  return html_table(table);
}

std::string samples_html(const RunData& run) {
  std::string body;
  if (!run.log.samples.empty())
    body +=
        html_paragraph("Of the last validation that showed some:") + samples_table(run.log.samples);
  if (!run.test.empty())
    body += html_paragraph("The test set's first lines, of " + count_form(run.test_lines) + ":") +
            samples_table(run.test);
  return body.empty() ? "" : html_heading(3, "Samples") + body;
}

std::string checkpoints_html(const RunData& run) {
  Table table;
  table.head = {"checkpoint", "named by", "size", "shards", "written"};
  for (const CheckpointLine& line : run.checkpoints.lines)
    table.rows.push_back({line.name, line.complete ? line.marks : "incomplete",
                          bytes_form(static_cast<double>(line.bytes)), count_form(line.shards),
                          line.written});
  return table.rows.empty() ? "" : html_heading(3, "Checkpoints") + html_table(table);
}

std::string deck_html(const RunData& run) {
  if (run.deck.lines.empty()) return "";
  Table given, all;
  given.look = all.look = Table::Look::kTexts;
  given.head = all.head = {"key", "value", "origin"};
  for (const DeckLine& line : run.deck.lines) {
    if (line.given()) given.rows.push_back({line.key, line.value, line.origin});
    all.rows.push_back({line.key, line.value, line.origin});
  }
  return html_heading(3, "Deck") +
         html_paragraph("Keys that were given" +
                        (run.deck.name.empty() ? "" : ", deck " + run.deck.name) + ":") +
         html_table(given) + html_details("All keys, with defaults", html_table(all));
}

std::string warnings_html(const RunData& run) {
  if (run.log.warnings.empty()) return "";
  std::string lines;
  for (const std::string& line : run.log.warnings) lines += escaped(line) + "\n";
  return html_details(plural(run.log.warning_count, "warning", "warnings") +
                          (run.log.warning_count > std::ssize(run.log.warnings)
                               ? ", the last " + count_form(std::ssize(run.log.warnings))
                               : std::string()),
                      "<pre>" + lines + "</pre>\n");
}

}  // namespace

std::string run_section(const RunData& run) {
  return troubles_html(run) + facts_html(run) + scores_html(run) + memory_html(run) +
         time_html(run) + samples_html(run) + checkpoints_html(run) + deck_html(run) +
         warnings_html(run);
}

}  // namespace th::app
