#include "th/config/state_names.hpp"
#include "th/monitor/gathered_warnings.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "train/trainer/run_report.hpp"

#include <algorithm>
#include <utility>

// What a run tells of itself while it goes on: progress, time in each phase, slow ranks, warnings
// of other ranks.
namespace th::train {

namespace {

double seconds_of(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

constexpr double kGiB = 1 << 30;

}  // namespace

void RunReport::open_watch() {
  RunFacts& facts = session_.facts;
  facts.hosts = run_.collectives.control().gather_texts(runtime::hostname());
  facts.slots = state_.micro_batches;
  facts.nodes = run_.collectives.nodes().nodes();
  facts.on_gpu = run_.device.on_gpu();
  use_ = TimeUse::of(facts.hosts.size());
  // A GPU works while its host waits: the host's times tell nothing of it.
  const double factor = run_.device.on_gpu() ? 0 : run_.config.monitor.straggler_factor;
  stragglers_ = std::make_unique<StragglerWatch>(factor, state_.micro_batches, facts.hosts);
  began_ = Clock::now();
}

void RunReport::take_times(std::span<const StepTimes> ranks) {
  for (const std::string& line : stragglers_->observe(state_.step, ranks)) warn(line);
  if (state_.step > run_.config.run.warmup_steps) use_.add(state_.step, ranks);
  note([&] {
    if (!tensorboard_) return;
    const MeanTimes mean = mean_times(ranks);
    tensorboard_->scalar("time/data", mean.data, state_.step);
    if (run_.device.on_gpu()) return;  // the host's times tell nothing of what it does
    tensorboard_->scalar("time/compute", mean.compute, state_.step);
    tensorboard_->scalar("time/communication", mean.communication - mean.waiting, state_.step);
    tensorboard_->scalar("time/communication_hidden", mean.hidden, state_.step);
    tensorboard_->scalar("time/waiting", mean.waiting, state_.step);
  });
}

double RunReport::phase(const char* name, Clock::time_point start) {
  const double seconds = seconds_of(Clock::now() - start);
  note([&] {
    if (tensorboard_) tensorboard_->scalar(std::string("time/") + name, seconds, state_.step);
  });
  return seconds;
}

void RunReport::say_verdict() {
  constexpr std::int64_t kFewest = 10;  // steps: fewer tell of the machine's moment alone
  if (use_.steps < kFewest) return;
  session_.facts.padding = session_.totals.padding();
  for (const std::string& line : verdict(use_, session_.facts, TimesOf::kHost)) say(line);
}

const runtime::MemoryLedger& RunReport::ledger() const {
  return run_.device.on_gpu() ? runtime::MemoryLedger::device() : runtime::MemoryLedger::process();
}

std::int64_t RunReport::memory_in_use() const {
  return run_.device.on_gpu() ? ledger().current().total() : runtime::rss_bytes();
}

void RunReport::plot(const Step& step) {
  note([&] {
    if (!tensorboard_) return;
    tensorboard_->scalar("train/loss", step.loss, step.number);
    tensorboard_->scalar("train/lr", step.lr, step.number);
    tensorboard_->scalar("train/grad_norm", step.grad_norm, step.number);
    tensorboard_->scalar("train/tokens_per_second",
                         static_cast<double>(step.tokens()) / step.seconds, step.number);
    if (run_.scales_loss()) tensorboard_->scalar("train/loss_scale", step.loss_scale, step.number);
    tensorboard_->scalar("memory/gib", static_cast<double>(memory_in_use()) / kGiB, step.number);
  });
  if (const std::string spike = losses_.observe(step.number, step.loss); !spike.empty()) say(spike);
}

void RunReport::count(const Step& step) {
  Totals& totals = session_.totals;
  ++totals.steps;
  totals.seconds += step.seconds;
  totals.real_tokens += step.tokens();
  totals.padded_tokens += step.padded_tokens;
  totals.score_cells += step.score_cells;
  totals.padded_score_cells += step.padded_score_cells;
  if (step.number > run_.config.run.warmup_steps) {
    totals.timed_tokens += step.tokens();
    totals.timed_seconds += step.seconds;
  }
  if (totals.steps == 1 && run_.is_root()) {
    say("Memory of a rank: " + plan_against_measurement(session_.memory->plan().peak().use,
                                                        ledger().at_peak(),
                                                        config::state_names(run_.config)));
  }
  show_progress(step.loss, step.seconds);
}

std::int64_t RunReport::steps_of_the_epoch() const {
  constexpr std::int64_t kWithoutEnd = std::int64_t{1} << 39;  // random ids
  const std::int64_t steps = session_.data.source->steps(state_.epoch);
  return steps < kWithoutEnd ? steps : 0;
}

std::int64_t RunReport::last_step() const {
  const config::TrainSection& train = run_.config.train;
  const std::int64_t steps = steps_of_the_epoch(), limit = train.max_steps;
  std::int64_t end = 0;
  const bool known = steps > 0 &&
                     !__builtin_mul_overflow(train.epochs - state_.epoch, steps, &end) &&
                     !__builtin_add_overflow(end, state_.step - state_.step_in_epoch, &end);
  if (!known) return limit;
  return limit > 0 ? std::min(limit, end) : end;
}

void RunReport::show_progress(double loss, double seconds) {
  if (!run_.is_root()) return;
  const Totals& totals = session_.totals;
  const bool bar = progress_ && progress_->active();
  const bool by_steps = run_.config.monitor.log_every_steps > 0;
  const double now = seconds_of(Clock::now() - began_);
  const bool line = (by_steps || !bar) && pace_.due(state_.step, now, seconds);
  if (!bar && !line) return;
  monitor::Standing standing;
  standing.step = state_.step;
  standing.epoch = state_.epoch;
  standing.step_in_epoch = state_.step_in_epoch;
  standing.steps_in_epoch = steps_of_the_epoch();
  standing.last_step = last_step();
  standing.loss = loss;
  standing.tokens_per_second =
      static_cast<double>(totals.real_tokens) / std::max(totals.seconds, 1e-9);
  standing.memory_bytes = memory_in_use();
  if (standing.last_step > 0)
    standing.seconds_left = now / static_cast<double>(std::max<std::int64_t>(1, totals.steps)) *
                            static_cast<double>(standing.last_step - standing.step);
  if (line) say(monitor::progress_line(standing));
  if (bar) progress_->show(monitor::progress_bar(standing));
}

void RunReport::gather_warnings() {
  std::string mine;
  for (const std::string& text : run_.log.take_warnings()) mine += text + '\0';
  std::vector<std::vector<std::string>> texts;
  for (const std::string& all : run_.collectives.control().gather_texts(mine)) {
    texts.emplace_back();
    for (std::size_t at = 0, end = 0; (end = all.find('\0', at)) != std::string::npos; at = end + 1)
      texts.back().push_back(all.substr(at, end - at));
  }
  for (const std::string& line : monitor::gathered_warnings(texts, session_.facts.hosts))
    warn(line);
}

}  // namespace th::train
