#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/config/metrics.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/monitor/header.hpp"
#include "th/train/agreement.hpp"
#include "th/train/trainer.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <utility>

// Validation, the choice of what the run gives in the end, and its test.
namespace th::train {

namespace fs = std::filesystem;

using monitor::fixed;
using runtime::FlightRecord;

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
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

/// The task's own, exact lines, and what validation is asked for beside them.
std::vector<config::Metric> test_metrics(const config::RunConfig& config) {
  using config::Metric;
  const bool summarizes = config.run.task == config::Task::kSummarization;
  std::vector<Metric> metrics{summarizes ? Metric::kRouge : Metric::kBleu, Metric::kExact};
  const std::vector<Metric>& asked = config.valid.metrics;
  for (const Metric metric : {Metric::kBleu, Metric::kChrf, Metric::kRouge}) {
    const bool there = std::find(metrics.begin(), metrics.end(), metric) != metrics.end();
    if (!there && std::find(asked.begin(), asked.end(), metric) != asked.end())
      metrics.push_back(metric);
  }
  return metrics;
}

}  // namespace

RunParts Trainer::parts() {
  return {config_,
          data_,
          device_,
          *model_,
          *engine_,
          collectives_,
          watchdog_,
          *memory_,
          log_,
          [this] { return stop_asked(); },
          decoding_.sharded,
          decoding_.together};
}

bool Trainer::stop_asked() {
  if (!stopping_.empty()) return true;
  std::vector<double> all(static_cast<std::size_t>(collectives_.size()));
  double mine = stop_.reason(0);
  // A launch that begins with this work would meet its limit here each time.
  if (mine == StopRequests::kTimeLimit && totals_.steps == 0) mine = StopRequests::kNone;
  collectives_.all_gather_doubles(std::array{mine}, all);
  stopping_ = stop_.first_text(all);
  return !stopping_.empty();
}

std::optional<Validation> Trainer::validate() {
  const FlightRecord::HostScope event(*engine_->flight_record(), FlightRecord::What::kValidation);
  if (progress_) progress_->clear();
  const auto start = Clock::now();
  std::optional<Validation> validation = validator_->run(state_.step);
  state_.validation_due = !validation;
  if (!validation) return std::nullopt;
  validated_step_ = state_.step;
  to_take_ = validation->best;
  validated_now_ = true;
  use_.validation += note_seconds("validation", start);
  return validation;
}

void Trainer::report(const Validation& validation) {
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

bool Trainer::end_epoch() {
  finish_steps();
  const auto start = Clock::now();
  const double loss = state_.epoch_loss_sum / static_cast<double>(state_.epoch_tokens);
  std::optional<Validation> validation;
  if (validator_) {
    validation = validate();
    if (!validation) return false;
  }
  const double seconds = state_.epoch_seconds + seconds_since(start);
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
  if (validation) report(*validation);
  ++state_.epoch;
  state_.step_in_epoch = 0;
  state_.epoch_loss_sum = 0;
  state_.epoch_tokens = 0;
  state_.epoch_seconds = 0;
  return true;
}

bool Trainer::validate_in_between() {
  finish_steps();
  if (!validator_) return true;
  const std::optional<Validation> validation = validate();
  if (!validation) return false;
  note([&] {
    metrics_->eval({"valid", state_.step, "valid_loss", validation->loss, ""});
    if (tensorboard_) tensorboard_->scalar("valid/loss", validation->loss, state_.step);
  });
  say("Step " + std::to_string(state_.step) + ": Validation = " + fixed(validation->loss, 4));
  report(*validation);
  return true;
}

bool Trainer::take_validation(bool scheduled, bool in_turn) {
  const std::optional<double> value = std::exchange(to_take_, std::nullopt);
  const bool validated = std::exchange(validated_now_, false);
  if (!validated || !tracker_.active()) return false;
  if (!value) {
    tracker_.pass();
    return false;
  }
  BestTracker::Verdict verdict = tracker_.observe({state_.step, *value, in_turn, scheduled});
  dropped_.insert(dropped_.end(), verdict.dropped.begin(), verdict.dropped.end());
  say("Step " + std::to_string(state_.step) + ": " + tracker_.text() +
      (tracker_.out_of_patience() ? "; valid.patience is over." : "."));
  return verdict.save;
}

std::vector<std::unique_ptr<io::CheckpointReader>> Trainer::checkpoints_to_average() {
  std::string names;  // a line each, newest first: rank 0's
  if (is_root() && config_.checkpoint.average_last > 0) {
    std::vector<std::string> notes;
    std::int64_t count = 0;
    const std::vector<std::string>& damaged = saver_->damaged();
    for (const std::string& path : io::checkpoint_candidates(checkpoints_, notes)) {
      const std::string name = fs::path(path).filename().string();
      if (std::find(damaged.begin(), damaged.end(), name) != damaged.end()) continue;
      if (count++ < config_.checkpoint.average_last) names += path + "\n";
    }
  }
  collectives_.broadcast(names, 0);
  std::vector<std::unique_ptr<io::CheckpointReader>> readers;
  run_agreed(collectives_, [&] {
    std::istringstream lines(names);
    for (std::string path; std::getline(lines, path);)
      readers.push_back(std::make_unique<io::CheckpointReader>(path));
    std::reverse(readers.begin(), readers.end());
  });
  return readers;
}

void Trainer::choose_final() {
  watchdog_.enter("checkpoint", state_.step);
  const auto readers = checkpoints_to_average();
  if (!readers.empty()) {
    io::CheckpointInfo info = readers.back()->info();
    RunState last = run_state_from_json(info.state_json);
    std::string names;
    for (const auto& reader : readers)
      names += (names.empty() ? "" : ", ") + fs::path(reader->folder()).filename().string();
    last.altered =
        "an average of " + std::to_string(readers.size()) + " checkpoints (" + names + ")";
    info.state_json = to_json(last);
    info.build = build_line();
    write_mean(collectives_, engine_->layout(), readers, info, checkpoints_);
    final_ = {io::mean_name(info.step), last.altered, info.step, false};
    if (is_root() && std::ssize(readers) < config_.checkpoint.average_last)
      log_.warn("checkpoint.average_last = " + std::to_string(config_.checkpoint.average_last) +
                ", and there are " + std::to_string(readers.size()) +
                " checkpoints: the average is of those");
  }
  std::string text;  // rank 0's: name and reason, a line each
  run_agreed(collectives_, [&] {
    if (!is_root()) return;
    for (const std::string& name : tracker_.kept()) {
      if (final_.name.empty() && fs::exists(checkpoints_ + "/" + name + "/model.h5"))
        final_ = {name, "the best: " + tracker_.value_text(name), 0, false};
    }
    if (final_.name.empty())
      final_ = {io::read_name(checkpoints_, io::kLatest), "the newest", 0, false};
    if (final_.name.empty()) return;
    io::write_name(checkpoints_, io::kFinal, final_.name);
    text = final_.name + "\n" + final_.why;
  });
  collectives_.broadcast(text, 0);
  final_.name = text.substr(0, text.find('\n'));
  final_.why = text.substr(std::min(text.size(), final_.name.size() + 1));
  if (!text.empty()) say("The run gives " + final_.name + ", " + final_.why + ".");
}

void Trainer::load_final() {
  final_.step = state_.step;
  if (final_.name.empty() || final_.name == io::step_name(state_.step)) return;
  std::unique_ptr<io::CheckpointReader> reader;
  run_agreed(collectives_, [&] {
    reader = std::make_unique<io::CheckpointReader>(checkpoints_ + "/" + final_.name);
  });
  memory_->saw_resume();
  final_.loaded = true;
  load_checkpoint(*reader, *engine_, collectives_, LoadWhat::kDecoding);
  final_.step = reader->info().step;
}

bool Trainer::give_final() {
  choose_final();
  if (translate_test_set()) return true;
  say_why_it_stops();
  // The run saves nothing else. With other parameters in the engine there is a checkpoint already.
  if (saved_step_ != state_.step && !final_.loaded) {
    save();
    saver_->finish();
  }
  return false;
}

bool Trainer::translate_test_set() {
  if (!dataset_.test) return true;
  const auto start = Clock::now();
  load_final();
  watchdog_.enter("decoding", state_.step);
  std::vector<std::int64_t> all(static_cast<std::size_t>(dataset_.test->size()));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  std::optional<std::vector<std::string>> translations =
      translate_sentences(parts(), *dataset_.test, all);
  if (!translations) return false;
  std::vector<std::string> lines = std::move(*translations);
  std::vector<std::string> references;
  run_agreed(collectives_, [&] {
    if (!is_root()) return;
    references = dataset_.test->target_lines();  // as they were read before the first step
    lines = data::by_line(*dataset_.test, lines);
    const std::string changed = data::changed_files(dataset_.test_files);
    if (!changed.empty() && progress_) progress_->clear();
    if (!changed.empty())
      log_.warn(changed +
                ": changed since the run read it; translations and scores are of the lines that "
                "stood there at its beginning");
    std::ofstream out(config_.run.output_dir + "/test.hyp");
    for (const std::string& line : lines) out << line << "\n";
    if (!out.flush()) throw CheckpointError(config_.run.output_dir + "/test.hyp can't be written");
  });
  if (!is_root()) return true;
  const std::vector<Score> scores =
      text_scores(lines, references, config_.valid, test_metrics(config_));
  note([&] {
    for (const Score& score : scores) {
      metrics_->eval({"test", final_.step, score.metric, score.value, score.signature});
      if (tensorboard_) tensorboard_->scalar("test/" + score.metric, score.value, final_.step);
    }
  });
  (void)note_seconds("test", start);
  const auto exact = std::find_if(scores.begin(), scores.end(),
                                  [](const Score& score) { return score.metric == "exact"; });
  const std::vector<Score> more(exact + 1, scores.end());
  say("Test set: " + log_text({scores.begin(), exact}) + ", " + fixed(100 * exact->value, 1) +
      " % of " + std::to_string(lines.size()) + " lines exact" + (more.empty() ? "" : ", ") +
      log_text(more));
  return true;
}

}  // namespace th::train
