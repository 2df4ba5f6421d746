#include "app/report/files/metrics_file.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/report/parts/line_stream.hpp"
#include "app/report/parts/record.hpp"
#include "th/base/json_text.hpp"

namespace th::app {

namespace {

using nlohmann::json;

std::vector<std::int64_t> bytes_of(const Record& record, const char* name) {
  if (!record.has(name)) return {};
  try {
    return parse_json(std::string(record.text(name))).get<std::vector<std::int64_t>>();
  } catch (const json::exception&) {
    return {};
  }
}

class MetricsReader {
 public:
  /// False where the record is none of th_app's.
  bool take(const Record& record) {
    const std::string_view kind = record.text("kind");
    if (kind == "step") return take_step(record);
    if (kind == "epoch") return take_epoch(record);
    if (kind == "eval") return take_eval(record);
    if (kind == "summary") return take_summary(record);
    return false;
  }
  MetricsFile file;

 private:
  bool take_step(const Record& record) {
    const auto step = record.number("step");
    if (!step) return false;
    file.summary.reset();  // of an earlier end, after which the run went on
    ++file.steps;
    file.last_step = static_cast<std::int64_t>(*step);
    const bool skipped = record.text("skipped") == "true";
    if (skipped || !record.number("grad_norm")) ++file.skipped;
    const auto add = [&](Series& series, const char* name) {
      if (const auto value = record.number(name)) series.add(*step, *value);
    };
    add(file.loss, "loss");
    add(file.grad_norm, "grad_norm");
    add(file.lr, "lr");
    add(file.loss_scale, "loss_scale");
    const double seconds = record.number("seconds").value_or(0);
    const double tokens =
        record.number("source_tokens").value_or(0) + record.number("target_tokens").value_or(0);
    if (seconds > 0) file.rate.add(*step, tokens / seconds, seconds);
    file.tokens += tokens;
    file.step_seconds += seconds;
    of_the_epoch_ += seconds;
    return true;
  }

  bool take_epoch(const Record& record) {
    if (!record.number("epoch")) return false;
    ++file.epochs;
    const auto step = static_cast<double>(file.last_step);
    if (const auto loss = record.number("train_loss")) file.epoch_loss.add(step, *loss);
    if (const auto loss = record.number("valid_loss")) file.valid_loss.add(step, *loss);
    const double seconds = record.number("seconds").value_or(0);
    file.epoch_end_seconds += std::max(0.0, seconds - of_the_epoch_);
    of_the_epoch_ = 0;
    return true;
  }

  bool take_eval(const Record& record) {
    const std::string metric(record.text("metric"));
    if (metric.empty()) return false;
    const double step = record.number("step").value_or(static_cast<double>(file.last_step));
    const auto value = record.number("value");
    // Records of before "set": the metric tells.
    const bool valid = record.has("set") ? record.text("set") == "valid" : metric == "valid_loss";
    const std::string signature(record.text("signature"));
    if (valid && metric == "valid_loss") {
      if (value) file.valid_loss.add(step, *value);
    } else if (valid) {
      if (value) file.valid_scores[metric].add(step, *value);
      if (!signature.empty()) file.signatures[metric] = signature;
    } else if (value) {
      std::erase_if(file.test_scores, [&](const TestScore& s) { return s.metric == metric; });
      file.test_scores.push_back({metric, signature, static_cast<std::int64_t>(step), *value});
    }
    return true;
  }

  bool take_summary(const Record& record) {
    RunSummary summary;
    summary.steps = static_cast<std::int64_t>(record.number("steps").value_or(0));
    summary.tokens_per_second = record.number("tokens_per_second");
    summary.padding_fraction = record.number("padding_fraction");
    summary.planned_bytes = bytes_of(record, "planned_bytes");
    summary.measured_bytes = bytes_of(record, "measured_bytes");
    summary.model_state_bytes = bytes_of(record, "model_state_bytes");
    summary.peak_rss_bytes = bytes_of(record, "peak_rss_bytes");
    summary.bytes_sent = bytes_of(record, "bytes_sent");
    summary.run = record.text("run");
    summary.exit = record.text("exit");
    summary.reason = record.text("reason");
    file.summary = std::move(summary);
    return true;
  }

  double of_the_epoch_ = 0;  ///< seconds of the epoch's steps so far
};

}  // namespace

double MetricsFile::mean_rate() const {
  if (summary && summary->tokens_per_second) return *summary->tokens_per_second;
  return step_seconds > 0 ? tokens / step_seconds : 0;
}

MetricsFile read_metrics(const std::string& path) {
  LineStream lines(path);
  MetricsReader reader;
  Record record;
  for (std::string_view line; lines.next(line);) {
    if (record.parse(line) && reader.take(record)) continue;
    if (lines.torn()) break;
    if (reader.file.damaged++ == 0) reader.file.first_damaged = lines.number();
  }
  reader.file.torn = lines.torn();
  return std::move(reader.file);
}

}  // namespace th::app
