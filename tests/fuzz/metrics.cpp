#include "th/monitor/metrics.hpp"
#include "app/inspect/numbers.hpp"
#include "app/inspect/recorded_scores.hpp"
#include "reader.hpp"
#include "th/monitor/log_tail.hpp"

// metrics.jsonl: cut where a run is resumed, searched for the end of the run before, and read by
// th_inspect info.
namespace th::fuzz {
namespace {

using monitor::MetricsWriter;

std::vector<std::string> metrics_seeds(const std::string& folder) {
  const std::string path = folder + "/metrics.jsonl";
  {
    MetricsWriter writer(path, monitor::OpenMode::kTruncate);
    for (std::int64_t step = 1; step <= 3; ++step)
      writer.step({step, 1, 0.25, 1.0, 1e-3, 3, 4, 0.5, 1024.0});
    writer.epoch({1, 0.5, 0.25, 3});
    writer.eval({"valid", 3, "bleu", 31.5, "tok:13a"});
    writer.eval({"test", 3, "bleu", 30, ""});
    monitor::SummaryRecord summary;
    summary.steps = 3;
    summary.bytes_sent = {1, 2};
    summary.traffic = {{"allreduce", "gradients", 1, 2, 3, 0}};
    summary.reason = "a signal";
    writer.summary(summary);
  }
  const std::string whole = get_file(path);
  return {whole, whole + "{\"kind\":\"st", whole + std::string(40, '\0'),
          "{\"kind\":\"eval\",\"metric\":\"valid_loss\",\"value\":1}\n", ""};
}

void read_metrics(const std::string& input, const std::string& folder) {
  const std::string path = folder + "/metrics.jsonl";
  put_file(path, input);
  (void)MetricsWriter::last_exit(path);
  for (const auto& [name, score] : app::recorded_scores(path, 3))
    must(!app::number_text(score, 6).empty(), "a score without a number");
  for (const std::int64_t step : {0, 2, 3}) {
    put_file(path, input);
    attempt<DataError>([&] {
      (void)MetricsWriter::truncate_metrics(path, step, {.epoch = step == 3, .validation = true});
      const std::string once = get_file(path);
      (void)MetricsWriter::truncate_metrics(path, step, {.epoch = step == 3, .validation = true});
      must(get_file(path) == once, "a file that was cut is cut again");
    });
  }
  put_file(path, input);
  const std::int64_t cut = monitor::cut_torn_tail(path);
  const std::string left = get_file(path);
  must(std::ssize(left) + cut == std::ssize(input) && input.starts_with(left) &&
           (left.empty() || left.back() == '\n'),
       "a log is cut elsewhere than behind a line");
}

}  // namespace

Reader metrics_reader() {
  return {"metrics",
          16384,
          {ExitCode::kData},
          {"{\"kind\":\"step\",\"step\":",
           "{\"kind\":\"eval\"}\n",
           "\"set\":\"valid\",",
           "\"metric\":\"valid_loss\"",
           "\"exit\":",
           "\"loss\":",
           "\"value\":",
           "\"step\":",
           "null",
           "true",
           "[[",
           "{\"kind\":",
           "}\n",
           "\n",
           "\"summary\"",
           "\"epoch\"",
           "\"eval\"",
           std::string(9, '\0'),
           "\\u0000",
           "\\ud800",
           "\xff"},
          metrics_seeds,
          read_metrics};
}

}  // namespace th::fuzz
