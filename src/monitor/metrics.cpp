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
  if (r.skipped) record["skipped"] = true;
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

void MetricsWriter::eval(const EvalRecord& r) {
  Json record{
      {"kind", "eval"}, {"set", r.set}, {"step", r.step}, {"metric", r.metric}, {"value", r.value}};
  if (!r.signature.empty()) record["signature"] = r.signature;
  line(json_text(record));
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
  Json record{{"kind", "summary"},
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
              {"exit", r.exit}};
  if (!r.reason.empty()) record["reason"] = r.reason;
  line(json_text(record));
}

namespace {

struct Line {
  std::string text, kind, exit;  // the last of a summary record
  std::int64_t step = 0;         // of a step record
  bool validation = false;       // of an eval record; those of before "set" by their metric
};

/// The records up to the first line that is none.
struct Records {
  std::vector<Line> lines;
  bool torn = false;    ///< a last line has no newline: the write was cut
  std::string damage;   ///< what is wrong with the first line that is no record; empty: all are
  std::string trouble;  ///< the same, with what was read there
};

/// What a line that is no record holds, in words.
std::string damage_of(const std::string& text) {
  const bool zeros = text.find('\0') != std::string::npos;
  return zeros ? "zero bytes" : "no record";
}

/// The beginning of a line as a message holds it: a zero byte would end the message.
std::string shown(const std::string& text) {
  constexpr std::size_t kShown = 80;
  std::string out = text.substr(0, kShown);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }, '?');
  return out;
}

Records records_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  Records out;
  for (std::string text; std::getline(in, text);) {
    if (in.eof()) {
      out.torn = true;
      break;
    }
    Line line;
    line.text = text;
    try {
      const nlohmann::json record = parse_json(text);
      line.kind = record.at("kind").get<std::string>();
      if (line.kind == "eval")
        line.validation = record.contains("set") ? record.at("set") == "valid"
                                                 : record.at("metric") == "valid_loss";
      if (line.kind == "step") line.step = json_integer(record.at("step"));
      if (line.kind == "summary") line.exit = record.value("exit", "");
    } catch (const Json::exception& e) {
      const std::string number = std::to_string(out.lines.size() + 1);
      out.damage = "line " + number + " holds " + damage_of(text);
      out.trouble = path + ":" + number + ": expected a metrics record, read '" + shown(text) +
                    "' (" + e.what() + "); move the file away or repair the line to resume";
      break;
    }
    out.lines.push_back(std::move(line));
  }
  return out;
}

}  // namespace

std::string MetricsWriter::last_exit(const std::string& path) {
  const Records records = records_of(path);
  const std::vector<Line>& lines = records.lines;
  if (lines.empty() || !records.damage.empty() || lines.back().kind != "summary") return "";
  return lines.back().exit;
}

std::string MetricsWriter::truncate_metrics(const std::string& path, std::int64_t last_step,
                                            const Kept& kept) {
  if (!std::filesystem::exists(path)) return "";
  const Records records = records_of(path);
  const std::vector<Line>& lines = records.lines;
  // Behind the checkpoint's step all goes anyhow, whether it can be read or not.
  const bool reached = std::any_of(lines.begin(), lines.end(), [&](const Line& l) {
    return l.kind == "step" && l.step >= last_step;
  });
  if (!records.damage.empty() && !reached) throw DataError(records.trouble);
  const auto later = std::find_if(lines.begin(), lines.end(), [&](const Line& l) {
    return l.kind == "step" && l.step > last_step;
  });
  auto tail = later;  // from here on no step record is kept
  while (tail != lines.begin() && std::prev(tail)->kind != "step") --tail;
  std::string text;
  for (auto line = lines.begin(); line != later; ++line) {
    const bool stays =
        (kept.epoch && line->kind == "epoch") || (kept.validation && line->validation);
    if (line < tail || stays) text += line->text + '\n';
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
  if (!records.damage.empty())
    return path + ": " + records.damage + ", behind the checkpoint's step " +
           std::to_string(last_step) + "; the file is cut there";
  return records.torn ? path + ": the last line was not written whole; it is cut" : "";
}

}  // namespace th::monitor
