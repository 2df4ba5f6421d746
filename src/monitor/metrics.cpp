#include "th/monitor/metrics.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>

#include "th/base/error.hpp"
#include "th/base/json_text.hpp"

namespace th::monitor {

// dump() writes a form that reads back to the same bits, mostly the shortest, and null for what is
// not finite.
using Json = nlohmann::ordered_json;

MetricsWriter::MetricsWriter(const std::string& path, OpenMode mode)
    : path_(path), file_(path, mode == OpenMode::kAppend ? std::ios::app : std::ios::trunc) {
  if (!file_) throw DeckError("run.output_dir: cannot open " + path + " for writing");
}

void MetricsWriter::line(const std::string& text) {
  file_ << text << '\n' << std::flush;
  if (!file_) throw DeckError("run.output_dir: cannot write " + path_ + ": is the disk full?");
}

void MetricsWriter::step(const StepRecord& r) {
  Json record{{"kind", "step"},
              {"step", r.step},
              {"epoch", r.epoch},
              {"loss", r.loss},
              {"grad_norm", r.grad_norm},
              {"lr", r.lr},
              {"source_tokens", r.source_tokens},
              {"target_tokens", r.target_tokens},
              {"seconds", r.seconds}};
  if (r.loss_scale) record["loss_scale"] = *r.loss_scale;
  line(json_text(record));
}

void MetricsWriter::epoch(const EpochRecord& r) {
  const Json valid = r.valid_loss ? Json(*r.valid_loss) : Json(nullptr);
  line(json_text(Json{{"kind", "epoch"},
                      {"epoch", r.epoch},
                      {"train_loss", r.train_loss},
                      {"valid_loss", valid},
                      {"seconds", r.seconds}}));
}

void MetricsWriter::eval(const std::string& metric, double value) {
  line(json_text(Json{{"kind", "eval"}, {"metric", metric}, {"value", value}}));
}

void MetricsWriter::summary(const SummaryRecord& r) {
  Json traffic = Json::array();
  for (const TrafficRecord& row : r.traffic) {
    traffic.push_back({{"collective", row.collective},
                       {"class", row.data},
                       {"calls", row.calls},
                       {"sent", row.sent},
                       {"received", row.received},
                       {"between_nodes", row.between_nodes}});
  }
  line(json_text(Json{{"kind", "summary"},
                      {"steps", r.steps},
                      {"tokens_per_second", r.tokens_per_second},
                      {"rss_before_model_bytes", r.rss_before_model_bytes},
                      {"padding_fraction", r.padding_fraction},
                      {"attention_padding_fraction", r.attention_padding_fraction},
                      {"peak_rss_bytes", r.peak_rss_bytes},
                      {"model_state_bytes", r.model_state_bytes},
                      {"planned_bytes", r.planned_bytes},
                      {"measured_bytes", r.measured_bytes},
                      {"bytes_sent", r.bytes_sent},
                      {"bytes_on_node", r.bytes_on_node},
                      {"bytes_between_nodes", r.bytes_between_nodes},
                      {"traffic", traffic},
                      {"run", r.run},
                      {"exit", r.exit}}));
}

namespace {

struct Line {
  std::string text, kind;  // an eval record's kind is its metric here
  std::int64_t step = 0;   // of a step record
};

std::vector<Line> whole_lines(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<Line> lines;
  for (std::string text; std::getline(in, text);) {
    if (in.eof()) break;  // no newline after it: the write was cut
    Line line{text, "", 0};
    try {
      const Json record = Json::parse(text);
      line.kind = record.at("kind").get<std::string>();
      if (line.kind == "eval") line.kind = record.at("metric").get<std::string>();
      if (line.kind == "step") line.step = record.at("step").get<std::int64_t>();
    } catch (const Json::exception& e) {
      throw DataError(path + ":" + std::to_string(lines.size() + 1) +
                      ": expected a metrics record, read '" + text.substr(0, 80) + "' (" +
                      e.what() + "); move the file away or repair the line to resume");
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace

std::string MetricsWriter::last_exit(const std::string& path) {
  const std::vector<Line> lines = whole_lines(path);
  if (lines.empty() || lines.back().kind != "summary") return "";
  return Json::parse(lines.back().text).value("exit", "");
}

void MetricsWriter::truncate_metrics(const std::string& path, std::int64_t last_step,
                                     const std::string& kept) {
  if (!std::filesystem::exists(path)) return;
  const std::vector<Line> lines = whole_lines(path);
  const auto later = std::find_if(lines.begin(), lines.end(), [&](const Line& l) {
    return l.kind == "step" && l.step > last_step;
  });
  auto tail = later;  // from here on no step record is kept
  while (tail != lines.begin() && std::prev(tail)->kind != "step") --tail;
  std::string text;
  for (auto line = lines.begin(); line != later; ++line) {
    if (line < tail || line->kind == kept) text += line->text + '\n';
  }
  const std::string part = path + ".partial";
  {
    std::ofstream out(part, std::ios::binary | std::ios::trunc);
    out << text << std::flush;
    if (!out) throw DeckError("run.output_dir: cannot write " + part + ": is the disk full?");
  }
  std::error_code code;
  std::filesystem::rename(part, path, code);
  if (code) throw DeckError("run.output_dir: cannot replace " + path + ": " + code.message());
}

}  // namespace th::monitor
