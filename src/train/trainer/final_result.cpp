#include "train/trainer/final_result.hpp"

#include "th/base/build_info.hpp"
#include "th/base/error.hpp"
#include "th/config/metrics.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/monitor/header.hpp"
#include "th/train/agreement.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

namespace th::train {

namespace fs = std::filesystem;

using monitor::fixed;

namespace {

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

/// "BLEU = 12.34 (…), 56.7 % of 12 lines exact, chrF2 = 45.60".
std::string test_text(const std::vector<Score>& scores, std::size_t lines) {
  const auto exact = std::find_if(scores.begin(), scores.end(),
                                  [](const Score& score) { return score.metric == "exact"; });
  const std::vector<Score> more(exact + 1, scores.end());
  return log_text({scores.begin(), exact}) + ", " + fixed(100 * exact->value, 1) + " % of " +
         std::to_string(lines) + " lines exact" + (more.empty() ? "" : ", ") + log_text(more);
}

}  // namespace

std::vector<std::unique_ptr<io::CheckpointReader>> FinalResult::checkpoints_to_average() {
  std::string names;  // a line each, newest first: rank 0's
  if (run_.is_root() && config_.checkpoint.average_last > 0) {
    std::vector<std::string> notes;
    std::int64_t count = 0;
    const std::vector<std::string>& damaged = session_.saver->damaged();
    for (const std::string& path : io::checkpoint_candidates(run_.checkpoints, notes)) {
      const std::string name = fs::path(path).filename().string();
      if (std::find(damaged.begin(), damaged.end(), name) != damaged.end()) continue;
      if (count++ < config_.checkpoint.average_last) names += path + "\n";
    }
  }
  run_.collectives.control().broadcast(names, 0);
  std::vector<std::unique_ptr<io::CheckpointReader>> readers;
  run_agreed(run_.collectives.control(), [&] {
    std::istringstream lines(names);
    for (std::string path; std::getline(lines, path);)
      readers.push_back(std::make_unique<io::CheckpointReader>(path));
    std::reverse(readers.begin(), readers.end());
  });
  return readers;
}

void FinalResult::average(const std::vector<std::unique_ptr<io::CheckpointReader>>& readers) {
  io::CheckpointInfo info = readers.back()->info();
  RunState last = run_state_from_json(info.state_json);
  std::string names;
  for (const auto& reader : readers)
    names += (names.empty() ? "" : ", ") + fs::path(reader->folder()).filename().string();
  last.altered = "an average of " + std::to_string(readers.size()) + " checkpoints (" + names + ")";
  info.state_json = to_json(last);
  info.build = build_line();
  write_mean(run_.collectives.control(), session_.engine->layout(), readers, info,
             run_.checkpoints);
  name_ = io::mean_name(info.step);
  why_ = last.altered;
  step_ = info.step;
  if (run_.is_root() && std::ssize(readers) < config_.checkpoint.average_last)
    run_.log.warn("checkpoint.average_last = " + std::to_string(config_.checkpoint.average_last) +
                  ", and there are " + std::to_string(readers.size()) +
                  " checkpoints: the average is of those");
}

void FinalResult::choose() {
  run_.watchdog.enter("checkpoint", session_.state.step);
  const auto readers = checkpoints_to_average();
  if (!readers.empty()) average(readers);
  std::string text;  // rank 0's: name and reason, a line each
  run_agreed(run_.collectives.control(), [&] {
    if (!run_.is_root()) return;
    for (const std::string& name : session_.tracker.kept()) {
      if (name_.empty() && fs::exists(run_.checkpoints + "/" + name + "/model.h5")) {
        name_ = name;
        why_ = "the best: " + session_.tracker.value_text(name);
      }
    }
    if (name_.empty()) {
      name_ = io::read_name(run_.checkpoints, io::kLatest);
      why_ = "the newest";
    }
    if (name_.empty()) return;
    io::write_name(run_.checkpoints, io::kFinal, name_);
    text = name_ + "\n" + why_;
  });
  run_.collectives.control().broadcast(text, 0);
  name_ = text.substr(0, text.find('\n'));
  why_ = text.substr(std::min(text.size(), name_.size() + 1));
  if (!text.empty()) report_.say("The run gives " + name_ + ", " + why_ + ".");
}

void FinalResult::load() {
  step_ = session_.state.step;
  if (name_.empty() || name_ == io::step_name(step_)) return;
  std::unique_ptr<io::CheckpointReader> reader;
  run_agreed(run_.collectives.control(), [&] {
    reader = std::make_unique<io::CheckpointReader>(run_.checkpoints + "/" + name_);
  });
  session_.memory->saw_resume();
  loaded_ = true;
  load_checkpoint(*reader, *session_.engine, run_.collectives.control(), LoadWhat::kDecoding);
  step_ = reader->info().step;
}

bool FinalResult::give() {
  choose();
  if (translate_test_set()) return true;
  report_.say_why_it_stops();
  // The run saves nothing else. With other parameters in the engine there is a checkpoint already.
  if (!saver_.is_saved() && !loaded_) {
    saver_.save();
    saver_.finish();
  }
  return false;
}

void FinalResult::write_lines(std::vector<std::string>& lines,
                              std::vector<std::string>& references) {
  const data::Dataset& dataset = session_.data.dataset;
  references = dataset.test->target_lines();  // as they were read before the first step
  lines = data::by_line(*dataset.test, lines);
  const std::string changed = data::changed_files(dataset.test_files);
  if (!changed.empty())
    report_.warn(changed +
                 ": changed since the run read it; translations and scores are of the lines that "
                 "stood there at its beginning");
  const std::string path = config_.run.output_dir + "/test.hyp";
  std::ofstream out(path);
  for (const std::string& line : lines) out << line << "\n";
  if (!out.flush()) throw CheckpointError(path + " can't be written");
}

bool FinalResult::translate_test_set() {
  const data::Dataset& dataset = session_.data.dataset;
  if (!dataset.test) return true;
  const auto start = RunReport::Clock::now();
  load();
  run_.watchdog.enter("decoding", session_.state.step);
  std::vector<std::int64_t> all(static_cast<std::size_t>(dataset.test->size()));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  std::optional<std::vector<std::string>> translations =
      translate_sentences(session_.parts(), *dataset.test, all);
  if (!translations) return false;
  std::vector<std::string> lines = std::move(*translations);
  std::vector<std::string> references;
  run_agreed(run_.collectives.control(), [&] {
    if (run_.is_root()) write_lines(lines, references);
  });
  if (!run_.is_root()) return true;
  const std::vector<Score> scores =
      text_scores(lines, references, config_.valid, test_metrics(config_));
  report_.test(scores, step_);
  (void)report_.phase("test", start);
  report_.say("Test set: " + test_text(scores, lines.size()));
  return true;
}

}  // namespace th::train
