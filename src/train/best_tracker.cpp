#include "th/train/best_tracker.hpp"

#include "th/base/counted.hpp"
#include "th/config/metrics.hpp"
#include "th/io/checkpoint/checkpoint_folder.hpp"
#include "th/monitor/header.hpp"

#include <algorithm>

namespace th::train {

namespace {

constexpr int kDigits = 4;

using Definition = std::vector<std::pair<std::string, std::string>>;

/// "valid.bleu_tokenizer was none and is 13a", with commas; of unlike metrics the metric alone.
std::string differences(const Definition& then, const Definition& now) {
  const auto line = [](const auto& before, const auto& after) {
    const auto shown = [](const std::string& value) { return value.empty() ? "not set" : value; };
    return after.first + " was " + shown(before.second) + " and is " + shown(after.second);
  };
  if (then.front() != now.front()) return line(then.front(), now.front());
  std::string text;
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (then[i] != now[i]) text += (text.empty() ? "" : ", ") + line(then[i], now[i]);
  }
  return text;
}

}  // namespace

BestTracker::BestTracker(const config::RunConfig& config)
    : keep_(config.checkpoint.keep_best),
      patience_(config.valid.patience),
      direction_(config::better_of(config::best_metric(config.valid), config.valid)),
      definition_(config::metric_definition(config)) {
  if (config::validates(config) && (keep_ > 0 || patience_ > 0))
    state_.metric = config::name_of(config::best_metric(config.valid));
}

bool BestTracker::active() const noexcept { return !state_.metric.empty(); }

std::string BestTracker::restore(const BestState& state, const config::RunConfig& before) {
  if (!active() || state.metric.empty()) return "";
  const std::string differing = differences(config::metric_definition(before), definition_);
  comparable_ = differing.empty();
  if (!comparable_)
    return "The checkpoint's best validations can't be compared with this run's, which begins with "
           "none: " +
           differing + ".";
  state_ = state;
  if (std::ssize(state_.kept) > keep_) state_.kept.resize(static_cast<std::size_t>(keep_));
  return "";
}

void BestTracker::restore_end(const std::optional<BestState>& end) {
  if (end && comparable_) end_ = end;
}

void BestTracker::forget() {
  const std::string metric = state_.metric, text = state_.text;
  state_ = BestState();
  state_.metric = metric;
  state_.text = text;
  end_.reset();
}

std::string BestTracker::compare_text(const std::string& hash) {
  if (!active()) return "";
  const bool other = !state_.text.empty() && state_.text != hash;
  state_.text = hash;
  if (!other) return "";
  forget();
  return "The checkpoint's best validations are of another text (data.valid_source, "
         "data.valid_target): this run begins with none.";
}

bool BestTracker::better(double a, double b) const noexcept {
  return direction_ == config::Better::kHigher ? a > b : a < b;
}

BestTracker::Verdict BestTracker::observe(const Seen& seen) {
  if (!seen.in_turn) end_ = state_;
  BestState& state = seen.in_turn ? state_ : *end_;
  Verdict verdict;
  verdict.better = !state.value || better(seen.value, *state.value);
  if (verdict.better) {
    state.value = seen.value;
    state.step = seen.step;
    state.without_better = 0;
  } else {
    ++state.without_better;
  }
  const auto worse = std::find_if(state.kept.begin(), state.kept.end(), [&](const auto& entry) {
    return better(seen.value, entry.value);
  });
  if (worse - state.kept.begin() >= keep_) return verdict;
  verdict.save = true;
  state.kept.insert(worse, {seen.step, seen.value, seen.scheduled});
  if (std::ssize(state.kept) <= keep_) return verdict;
  if (seen.in_turn && !state.kept.back().scheduled)
    verdict.dropped.push_back(io::step_name(state.kept.back().step));
  state.kept.pop_back();
  return verdict;
}

bool BestTracker::out_of_patience() const noexcept {
  return active() && patience_ > 0 && state_.without_better >= patience_;
}

std::vector<std::string> BestTracker::kept() const {
  std::vector<std::string> names;
  for (const BestState* state : {&now(), &state_}) {
    for (const BestState::Entry& entry : state->kept) {
      const std::string name = io::step_name(entry.step);
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

std::string BestTracker::value_text(const std::string& name) const {
  for (const BestState::Entry& entry : now().kept)
    if (io::step_name(entry.step) == name)
      return now().metric + " " + monitor::fixed(entry.value, kDigits);
  return "";
}

std::string BestTracker::text() const {
  if (now().without_better == 0) return "the best " + now().metric + " so far";
  return "no better " + now().metric + " for " + counted(now().without_better, "validation") +
         " (" + monitor::fixed(*now().value, kDigits) + " at step " + std::to_string(now().step) +
         ")";
}

}  // namespace th::train
