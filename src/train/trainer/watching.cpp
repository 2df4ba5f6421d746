#include "th/monitor/gathered_warnings.hpp"
#include "th/monitor/progress_text.hpp"
#include "th/runtime/memory/resource_usage.hpp"
#include "th/train/trainer.hpp"

#include <algorithm>
#include <chrono>
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

void Trainer::open_watch() {
  facts_.hosts = collectives_.gather_texts(runtime::hostname());
  facts_.slots = state_.micro_batches;
  facts_.nodes = collectives_.nodes().nodes();
  facts_.on_gpu = device_.on_gpu();
  use_ = TimeUse::of(facts_.hosts.size());
  // A GPU works while its host waits: the host's times tell nothing of it.
  const double factor = device_.on_gpu() ? 0 : config_.monitor.straggler_factor;
  stragglers_ = std::make_unique<StragglerWatch>(factor, state_.micro_batches, facts_.hosts);
  began_ = Clock::now();
}

double Trainer::seconds_in_others() const {
  constexpr double kNanosecond = 1e-9;
  return kNanosecond *
         static_cast<double>(collectives_.own_ns() + engine_->communication().waited_ns());
}

double Trainer::seconds_beside() const {
  constexpr double kNanosecond = 1e-9;
  return kNanosecond *
         static_cast<double>(collectives_.others_ns() - engine_->communication().waited_ns());
}

void Trainer::train_one() {
  const auto start = Clock::now();
  const double others = seconds_in_others(), beside = seconds_beside();
  times_ = StepTimes();
  if (profile_) profile_->begin_step(state_.step + 1);
  train_step();
  if (profile_) profile_->end_step();
  times_.communication = seconds_in_others() - others;
  times_.hidden = std::max(0.0, seconds_beside() - beside);
  times_.compute =
      std::max(0.0, seconds_of(Clock::now() - start) - times_.data - times_.communication);
}

void Trainer::watch_step(std::span<const StepTimes> ranks) {
  for (const std::string& line : stragglers_->observe(state_.step, ranks)) warn(line);
  if (state_.step > config_.run.warmup_steps) use_.add(state_.step, ranks);
  note([&] {
    if (!tensorboard_) return;
    const MeanTimes mean = mean_times(ranks);
    tensorboard_->scalar("time/data", mean.data, state_.step);
    if (device_.on_gpu()) return;  // the host's times tell nothing of what it does
    tensorboard_->scalar("time/compute", mean.compute, state_.step);
    tensorboard_->scalar("time/communication", mean.communication - mean.waiting, state_.step);
    tensorboard_->scalar("time/communication_hidden", mean.hidden, state_.step);
    tensorboard_->scalar("time/waiting", mean.waiting, state_.step);
  });
}

double Trainer::note_seconds(const char* phase, Clock::time_point start) {
  const double seconds = seconds_of(Clock::now() - start);
  note([&] {
    if (tensorboard_) tensorboard_->scalar(std::string("time/") + phase, seconds, state_.step);
  });
  return seconds;
}

void Trainer::say_verdict() {
  constexpr std::int64_t kFewest = 10;  // steps: fewer tell of the machine's moment alone
  if (use_.steps < kFewest) return;
  facts_.padding = padding();
  for (const std::string& line : verdict(use_, facts_, TimesOf::kHost)) say(line);
}

std::int64_t Trainer::memory_in_use() const {
  return device_.on_gpu() ? ledger().current().total() : runtime::rss_bytes();
}

void Trainer::note_step(std::int64_t step, double loss, double grad_norm, double lr, double rate,
                        double scale) {
  note([&] {
    if (!tensorboard_) return;
    tensorboard_->scalar("train/loss", loss, step);
    tensorboard_->scalar("train/lr", lr, step);
    tensorboard_->scalar("train/grad_norm", grad_norm, step);
    tensorboard_->scalar("train/tokens_per_second", rate, step);
    if (scales_loss()) tensorboard_->scalar("train/loss_scale", scale, step);
    tensorboard_->scalar("memory/gib", static_cast<double>(memory_in_use()) / kGiB, step);
  });
}

std::int64_t Trainer::steps_of_the_epoch() const {
  constexpr std::int64_t kWithoutEnd = std::int64_t{1} << 39;  // random ids
  const std::int64_t steps = source_->steps(state_.epoch);
  return steps < kWithoutEnd ? steps : 0;
}

std::int64_t Trainer::last_step() const {
  const std::int64_t steps = steps_of_the_epoch(), limit = config_.train.max_steps;
  std::int64_t end = 0;
  const bool known = steps > 0 &&
                     !__builtin_mul_overflow(config_.train.epochs - state_.epoch, steps, &end) &&
                     !__builtin_add_overflow(end, state_.step - state_.step_in_epoch, &end);
  if (!known) return limit;
  return limit > 0 ? std::min(limit, end) : end;
}

void Trainer::show_progress(double loss, double seconds) {
  if (!is_root()) return;
  const bool bar = progress_ && progress_->active();
  const bool by_steps = config_.monitor.log_every_steps > 0;
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
      static_cast<double>(totals_.real_tokens) / std::max(totals_.seconds, 1e-9);
  standing.memory_bytes = memory_in_use();
  if (standing.last_step > 0)
    standing.seconds_left = now / static_cast<double>(std::max<std::int64_t>(1, totals_.steps)) *
                            static_cast<double>(standing.last_step - standing.step);
  if (line) say(monitor::progress_line(standing));
  if (bar) progress_->show(monitor::progress_bar(standing));
}

void Trainer::gather_warnings() {
  std::string mine;
  for (const std::string& text : log_.take_warnings()) mine += text + '\0';
  std::vector<std::vector<std::string>> texts;
  for (const std::string& all : collectives_.gather_texts(mine)) {
    texts.emplace_back();
    for (std::size_t at = 0, end = 0; (end = all.find('\0', at)) != std::string::npos; at = end + 1)
      texts.back().push_back(all.substr(at, end - at));
  }
  for (const std::string& line : monitor::gathered_warnings(texts, facts_.hosts)) warn(line);
}

}  // namespace th::train
