#include "th/config/state_names.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/monitor/header.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/train/agreement.hpp"
#include "th/train/trainer.hpp"

#include <filesystem>
#include <string>
#include <vector>

// What a run writes for people and plots.
namespace th::train {

namespace fs = std::filesystem;

namespace {

double part_unused(std::int64_t real, std::int64_t padded) {
  return padded > 0 ? 1.0 - static_cast<double>(real) / static_cast<double>(padded) : 0;
}

}  // namespace

void Trainer::note(const std::function<void()>& write) {
  if (!is_root() || note_failure_) return;
  try {
    write();
  } catch (const std::exception&) {
    note_failure_ = std::current_exception();
  }
}

void Trainer::settle_notes() {
  run_agreed(collectives_, [&] {
    if (note_failure_) std::rethrow_exception(note_failure_);
  });
}

void Trainer::say(const std::string& text) {
  if (progress_) progress_->clear();
  log_.info(text);
}

void Trainer::warn(const std::string& text) {
  if (!is_root()) return;
  if (progress_) progress_->clear();
  log_.warn(text);
}

void Trainer::report_memory() {
  if (!is_root()) return;
  say("Memory of a rank: " + plan_against_measurement(memory_->plan().peak().use,
                                                      ledger().at_peak(),
                                                      config::state_names(config_)));
}

void Trainer::open_monitors() {
  open_watch();
  if (config_.profile.enabled)
    profile_ = std::make_unique<Profile>(facts_, state_.step + 1, *engine_, collectives_,
                                         device_.place(), log_);
  run_agreed(collectives_, [&] {
    if (!is_root()) return;
    const std::string path = config_.run.output_dir + "/metrics.jsonl";
    const bool append = reader_ != nullptr && fs::exists(path);
    const bool validated = !state_.validation_due && (trained_before() || validates_now());
    if (reader_ && io::go_on_from(checkpoints_, reader_->folder())) {
      log_.info(checkpoints_ + "/latest names " + io::step_name(state_.step) +
                " again: what was trained after it is left behind.");
    }
    if (reader_) {  // what an earlier end gave is not this one's
      saver_->name_best();
      io::remove_name(checkpoints_, io::kFinal);
    }
    const bool epoch_ended = state_.step_in_epoch == 0;
    if (append) {
      const std::string cut = monitor::MetricsWriter::truncate_metrics(
          path, state_.step, {epoch_ended, epoch_ended || validated});
      if (!cut.empty()) log_.warn(cut);
    }
    metrics_ = std::make_unique<monitor::MetricsWriter>(
        path, append ? monitor::OpenMode::kAppend : monitor::OpenMode::kTruncate);
    const config::Progress progress = config_.monitor.progress;
    progress_ = std::make_unique<monitor::Progress>(
        progress == config::Progress::kOn ||
        (progress == config::Progress::kAuto && monitor::launcher_on_terminal()));
    if (config_.monitor.tensorboard)
      tensorboard_ = std::make_unique<monitor::TensorboardWriter>(
          config_.run.output_dir + "/tensorboard", state_.step + 1);
    if (tensorboard_)
      tensorboard_->text("deck", "```\n" + config::resolved_text(deck_) + "```\n", state_.step);
  });
}

void Trainer::print_sizes() {
  if (dataset_.train) {
    log_.info("Dataset: " + std::to_string(dataset_.train->size()) + " training pairs" +
              (dataset_.valid ? ", " + std::to_string(dataset_.valid->size()) + " for validation"
                              : std::string()) +
              (dataset_.test ? ", " + std::to_string(dataset_.test->size()) + " for the test"
                             : std::string()));
    for (const std::string& note : dataset_.notes) log_.info(note);
    log_.info("Vocabulary: source " + std::to_string(dataset_.source_tokenizer->size()) +
              ", target " + std::to_string(dataset_.target_tokenizer->size()));
    if (dataset_.valid && config_.train.label_smoothing > 0)
      log_.info(
          "The training loss holds label smoothing (train.label_smoothing), the validation "
          "loss does not: compare each with itself.");
  }
  log_.info("Parameters: " + std::to_string(engine_->layout().parameter_count()));
  log_.info("ZeRO stage " + std::to_string(config_.zero.stage) + ", " +
            std::to_string(state_.micro_batches) + " slots a step in " +
            std::to_string(engine_->rounds()) + " rounds, model state " +
            monitor::bytes_text(engine_->buffers().use().model_state()) + " a rank");
  if (const zero::UnitPlaces& gathered = engine_->buffers().gathered; config_.zero.stage == 3) {
    log_.info("Stage 3: " + std::to_string(gathered.shared - 1) +
              " units gathered ahead, at most " + std::to_string(gathered.total) +
              " elements at a time");
  }
  log_.info("Identity: " + identity_);
}

double Trainer::padding() const { return part_unused(totals_.real_tokens, totals_.padded_tokens); }

void Trainer::write_summary(const std::string& exit, const std::string& reason) {
  const auto gather = [&](std::int64_t value) {
    std::vector<std::int64_t> out;
    for (const std::string& text : collectives_.gather_texts(std::to_string(value)))
      out.push_back(std::stoll(text));
    return out;
  };
  monitor::SummaryRecord record;
  record.steps = state_.step;
  record.tokens_per_second = totals_.timed_seconds > 0
                                 ? static_cast<double>(totals_.timed_tokens) / totals_.timed_seconds
                                 : 0;
  record.padding_fraction = padding();
  const bool packed =
      model_->fuses_attention(model::scalar_type(config_.precision.dtype), data_.longest);
  record.attention_padding_fraction =
      packed ? 0 : part_unused(totals_.score_cells, totals_.padded_score_cells);
  record.rss_before_model_bytes = gather(rss_before_model_);
  record.peak_rss_bytes = gather(runtime::peak_rss_bytes());
  record.model_state_bytes = gather(runtime::MemoryLedger::process().current().model_state() +
                                    runtime::MemoryLedger::device().current().model_state());
  const runtime::ByteCounters sent = collectives_.bytes_sent(),
                              between = collectives_.bytes_between_nodes();
  const std::int64_t payload = sent.total() - sent.control,
                     crossed = between.total() - between.control;
  const std::int64_t peers = collectives_.nodes().node_size(collectives_.rank()) - 1,
                     others = collectives_.size() - 1;
  record.bytes_sent = gather(payload);
  record.bytes_on_node = gather(others > 0 ? payload / others * peers : 0);
  record.bytes_between_nodes = gather(crossed);
  record.planned_bytes = gather(memory_->plan().peak().use.total());
  record.measured_bytes = gather(ledger().at_peak().total());
  record.run = state_.run;
  record.exit = exit;
  record.reason = reason;
  std::string traffic;
  for (const runtime::TrafficRow& row : collectives_.traffic()) {
    record.traffic.push_back(
        {row.collective, row.data, row.calls, row.sent, row.received, row.between_nodes});
    traffic += (traffic.empty() ? "" : "; ") + row.collective + " of " + row.data + ": " +
               std::to_string(row.calls) + " calls, " + monitor::bytes_text(row.sent) + " sent, " +
               monitor::bytes_text(row.received) + " received" +
               (collectives_.nodes().nodes() > 1
                    ? ", " + monitor::bytes_text(row.between_nodes) + " between nodes"
                    : std::string());
  }
  if (collectives_.size() > 1) log_.info("Traffic of rank 0: " + traffic);
  note([&] {
    metrics_->summary(record);
    if (tensorboard_) tensorboard_->flush();
  });
  settle_notes();
  gather_warnings();
  say_verdict();
  log_.info("Done: " + std::to_string(totals_.steps) + " steps, " +
            std::to_string(static_cast<std::int64_t>(record.tokens_per_second)) + " tokens/s");
}

}  // namespace th::train
