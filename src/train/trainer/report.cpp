#include "th/config/state_names.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/model/ops/element.hpp"
#include "th/monitor/header.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/train/agreement.hpp"
#include "train/trainer/run_report.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

// Files, records and lines of a run; its last record.
namespace th::train {

namespace fs = std::filesystem;

using monitor::fixed;

namespace {

double part_unused(std::int64_t real, std::int64_t padded) {
  return padded > 0 ? 1.0 - static_cast<double>(real) / static_cast<double>(padded) : 0;
}

/// For a table of Markdown.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|' || c == '\\' || c == '<') out += '\\';
    out += c;
  }
  return out;
}

std::string table_of(const std::vector<Validation::Sample>& samples) {
  std::string text = "| source | reference | hypothesis |\n| --- | --- | --- |\n";
  for (const Validation::Sample& s : samples)
    text += "| " + cell(s.source) + " | " + cell(s.reference) + " | " + cell(s.hypothesis) + " |\n";
  return text;
}

}  // namespace

RunReport::RunReport(Session& session)
    : session_(session),
      run_(session.run),
      state_(session.state),
      pace_(session.run.config.monitor.log_every_steps) {
  open_watch();
  if (run_.config.profile.enabled)
    profile_ = std::make_unique<Profile>(session.facts, state_.step + 1, *session.engine,
                                         run_.collectives, run_.device.place(), run_.log);
  run_agreed(run_.collectives.control(), [&] {
    if (run_.is_root()) open_files();
  });
}

RunReport::~RunReport() = default;

void RunReport::open_files() {
  const config::RunConfig& config = run_.config;
  const std::unique_ptr<io::CheckpointReader>& resumed = session_.resumed.reader;
  const std::string path = config.run.output_dir + "/metrics.jsonl";
  const bool append = resumed != nullptr && fs::exists(path);
  const bool validated =
      !state_.validation_due && (session_.trained_before() || session_.validates_now());
  if (resumed && io::go_on_from(run_.checkpoints, resumed->folder())) {
    run_.log.info(run_.checkpoints + "/latest names " + io::step_name(state_.step) +
                  " again: what was trained after it is left behind.");
  }
  if (resumed) {  // what an earlier end gave is not this one's
    session_.saver->name_best();
    io::remove_name(run_.checkpoints, io::kFinal);
  }
  const bool epoch_ended = state_.step_in_epoch == 0;
  if (append) {
    const std::string cut = monitor::MetricsWriter::truncate_metrics(
        path, state_.step, {epoch_ended, epoch_ended || validated});
    if (!cut.empty()) run_.log.warn(cut);
  }
  metrics_ = std::make_unique<monitor::MetricsWriter>(
      path, append ? monitor::OpenMode::kAppend : monitor::OpenMode::kTruncate);
  const config::Progress progress = config.monitor.progress;
  progress_ = std::make_unique<monitor::Progress>(
      progress == config::Progress::kOn ||
      (progress == config::Progress::kAuto && monitor::launcher_on_terminal()));
  if (config.monitor.tensorboard)
    tensorboard_ = std::make_unique<monitor::TensorboardWriter>(
        config.run.output_dir + "/tensorboard", state_.step + 1);
  if (tensorboard_)
    tensorboard_->text("deck", "```\n" + config::resolved_text(run_.deck) + "```\n", state_.step);
}

void RunReport::note(const std::function<void()>& write) {
  if (!run_.is_root() || failure_) return;
  try {
    write();
  } catch (const std::exception&) {
    failure_ = std::current_exception();
  }
}

void RunReport::settle() {
  run_agreed(run_.collectives.control(), [&] {
    if (failure_) std::rethrow_exception(failure_);
  });
}

void RunReport::say(const std::string& text) {
  clear_bar();
  run_.log.info(text);
}

void RunReport::say_why_it_stops() {
  say("Stopping after step " + std::to_string(state_.step) + ": " + session_.stopping.why + ".");
}

void RunReport::warn(const std::string& text) {
  if (!run_.is_root()) return;
  clear_bar();
  run_.log.warn(text);
}

void RunReport::clear_bar() {
  if (progress_) progress_->clear();
}

void RunReport::record(const Step& step, bool skipped) {
  note([&] {
    metrics_->step({step.number, state_.epoch, step.loss, step.grad_norm, step.lr,
                    step.source_tokens, step.target_tokens, step.seconds,
                    run_.scales_loss() ? std::optional<double>(step.loss_scale) : std::nullopt,
                    skipped});
  });
}

void RunReport::epoch(double loss, const std::optional<Validation>& validation, double seconds) {
  note([&] {
    metrics_->epoch({state_.epoch, loss,
                     validation ? std::optional<double>(validation->loss) : std::nullopt, seconds});
    if (tensorboard_ && validation)
      tensorboard_->scalar("valid/loss", validation->loss, state_.step);
    if (tensorboard_) tensorboard_->flush();
  });
  say("Epoch " + std::to_string(state_.epoch) + ": Loss = " + fixed(loss, 4) +
      (validation ? ", Validation = " + fixed(validation->loss, 4) : std::string()) + " (" +
      fixed(seconds, 1) + " s)");
  if (validation) scores(*validation);
}

void RunReport::validation(const Validation& validation) {
  note([&] {
    metrics_->eval({"valid", state_.step, "valid_loss", validation.loss, ""});
    if (tensorboard_) tensorboard_->scalar("valid/loss", validation.loss, state_.step);
  });
  say("Step " + std::to_string(state_.step) + ": Validation = " + fixed(validation.loss, 4));
  scores(validation);
}

void RunReport::scores(const Validation& validation) {
  note([&] {
    for (const Score& score : validation.scores) {
      metrics_->eval({"valid", state_.step, score.metric, score.value, score.signature});
      if (tensorboard_) tensorboard_->scalar("valid/" + score.metric, score.value, state_.step);
    }
    if (tensorboard_ && !validation.samples.empty())
      tensorboard_->text("valid/samples", table_of(validation.samples), state_.step);
    if (tensorboard_) tensorboard_->flush();
  });
  if (!validation.scores.empty())
    say("Validation at step " + std::to_string(state_.step) + ": " + log_text(validation.scores));
  for (std::size_t i = 0; i < validation.samples.size(); ++i) {
    const Validation::Sample& sample = validation.samples[i];
    const std::string name = "Sample " + std::to_string(i + 1);
    say(name + " source:     " + sample.source);
    say(name + " reference:  " + sample.reference);
    say(name + " hypothesis: " + sample.hypothesis);
  }
}

void RunReport::test(const std::vector<Score>& scores, std::int64_t step) {
  note([&] {
    for (const Score& score : scores) {
      metrics_->eval({"test", step, score.metric, score.value, score.signature});
      if (tensorboard_) tensorboard_->scalar("test/" + score.metric, score.value, step);
    }
  });
}

monitor::SummaryRecord RunReport::summary_record() {
  const Totals& totals = session_.totals;
  runtime::WatchedCollectives& collectives = run_.collectives;
  const auto gather = [&](std::int64_t value) {
    std::vector<std::int64_t> out;
    for (const std::string& text : collectives.control().gather_texts(std::to_string(value)))
      out.push_back(std::stoll(text));
    return out;
  };
  monitor::SummaryRecord record;
  record.steps = state_.step;
  record.tokens_per_second = totals.timed_seconds > 0
                                 ? static_cast<double>(totals.timed_tokens) / totals.timed_seconds
                                 : 0;
  record.padding_fraction = totals.padding();
  const config::ModelSection& shape = run_.config.model;
  const bool packed =
      model::fuses_attention(*session_.model, model::scalar_type(run_.config.precision.dtype),
                             session_.data.longest, shape.d_model / shape.num_heads);
  record.attention_padding_fraction =
      packed ? 0 : part_unused(totals.score_cells, totals.padded_score_cells);
  record.rss_before_model_bytes = gather(session_.rss_before_model);
  record.peak_rss_bytes = gather(runtime::peak_rss_bytes());
  record.model_state_bytes = gather(runtime::MemoryLedger::process().current().model_state() +
                                    runtime::MemoryLedger::device().current().model_state());
  const runtime::ByteCounters sent = collectives.bytes_sent(),
                              between = collectives.bytes_between_nodes();
  const std::int64_t payload = sent.total() - sent.control,
                     crossed = between.total() - between.control;
  const std::int64_t peers = collectives.nodes().node_size(collectives.rank()) - 1,
                     others = collectives.size() - 1;
  record.bytes_sent = gather(payload);
  record.bytes_on_node = gather(others > 0 ? payload / others * peers : 0);
  record.bytes_between_nodes = gather(crossed);
  record.planned_bytes = gather(session_.memory->plan().peak().use.total());
  record.measured_bytes = gather(ledger().at_peak().total());
  record.run = state_.run;
  return record;
}

void RunReport::traffic(monitor::SummaryRecord& record) {
  runtime::WatchedCollectives& collectives = run_.collectives;
  std::string text;
  for (const runtime::TrafficRow& row : collectives.traffic()) {
    record.traffic.push_back(
        {row.collective, row.data, row.calls, row.sent, row.received, row.between_nodes});
    text += (text.empty() ? "" : "; ") + row.collective + " of " + row.data + ": " +
            std::to_string(row.calls) + " calls, " + monitor::bytes_text(row.sent) + " sent, " +
            monitor::bytes_text(row.received) + " received" +
            (collectives.nodes().nodes() > 1
                 ? ", " + monitor::bytes_text(row.between_nodes) + " between nodes"
                 : std::string());
  }
  if (collectives.size() > 1) run_.log.info("Traffic of rank 0: " + text);
}

void RunReport::summary(const std::string& exit, const std::string& reason) {
  monitor::SummaryRecord record = summary_record();
  record.exit = exit;
  record.reason = reason;
  traffic(record);
  note([&] {
    metrics_->summary(record);
    if (tensorboard_) tensorboard_->flush();
  });
  settle();
  gather_warnings();
  say_verdict();
  run_.log.info("Done: " + std::to_string(session_.totals.steps) + " steps, " +
                std::to_string(static_cast<std::int64_t>(record.tokens_per_second)) + " tokens/s");
}

}  // namespace th::train
