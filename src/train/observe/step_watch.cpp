#include "th/train/observe/step_watch.hpp"

#include "th/monitor/header.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace th::train {

using monitor::fixed;

StepTimes& StepTimes::operator+=(const StepTimes& other) {
  data += other.data;
  compute += other.compute;
  communication += other.communication;
  hidden += other.hidden;
  return *this;
}

MeanTimes mean_times(std::span<const StepTimes> ranks) {
  MeanTimes mean;
  if (ranks.empty()) return mean;
  double least = ranks.front().communication;
  for (const StepTimes& one : ranks) {
    mean += one;
    least = std::min(least, one.communication);
  }
  const auto count = static_cast<double>(ranks.size());
  mean.data /= count;
  mean.compute /= count;
  mean.communication /= count;
  mean.hidden /= count;
  mean.waiting = mean.communication - least;
  return mean;
}

StragglerWatch::StragglerWatch(double factor, std::int64_t slots, std::vector<std::string> hosts,
                               Window window)
    : factor_(factor),
      slots_(slots),
      hosts_(std::move(hosts)),
      window_(window),
      sums_(hosts_.size()),
      named_(hosts_.size()) {}

std::vector<std::string> StragglerWatch::observe(std::int64_t step,
                                                 std::span<const StepTimes> ranks) {
  if (factor_ <= 0 || ranks.size() < 2) return {};
  if (steps_++ == 0) first_step_ = step;
  double longest = 0;
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    sums_[r] += ranks[r];
    longest = std::max(longest, ranks[r].data + ranks[r].compute + ranks[r].communication);
  }
  seconds_ += longest;
  if (steps_ < window_.steps || seconds_ < window_.seconds) return {};
  std::vector<std::string> lines = slow_ranks(step);
  std::fill(sums_.begin(), sums_.end(), StepTimes());
  steps_ = 0;
  seconds_ = 0;
  return lines;
}

double StragglerWatch::slots_of(std::size_t rank) const {
  const auto ranks = static_cast<std::int64_t>(hosts_.size());
  const std::int64_t more = static_cast<std::int64_t>(rank) < slots_ % ranks ? 1 : 0;
  return static_cast<double>(std::max<std::int64_t>(1, slots_ / ranks + more));
}

std::vector<std::string> StragglerWatch::slow_ranks(std::int64_t last_step) {
  /// A phase, for a micro-batch of each rank, and its median: of two ranks the quicker one's.
  struct Phase {
    const char* name;
    std::vector<double> seconds;
    double median = 0;
  };
  const auto phase = [&](const char* name, auto of) {
    Phase p{name, {}, 0};
    for (std::size_t r = 0; r < sums_.size(); ++r)
      p.seconds.push_back(of(sums_[r]) / slots_of(r) / static_cast<double>(steps_));
    std::vector<double> sorted = p.seconds;
    std::sort(sorted.begin(), sorted.end());
    p.median = sorted[(sorted.size() - 1) / 2];
    return p;
  };
  const Phase work = phase("work", [](const StepTimes& t) { return t.data + t.compute; });
  const Phase data = phase("waiting for data", [](const StepTimes& t) { return t.data; });
  const Phase compute = phase("compute", [](const StepTimes& t) { return t.compute; });
  std::vector<std::string> lines;
  for (std::size_t r = 0; r < sums_.size(); ++r) {
    if (work.seconds[r] <= factor_ * work.median) {
      named_[r] = Named();
      continue;
    }
    if (++named_[r].windows < named_[r].next) continue;
    named_[r].next = 2 * named_[r].windows + 1;
    const bool by_data = data.seconds[r] - data.median > compute.seconds[r] - compute.median;
    const Phase& worst = by_data ? data : compute;
    lines.push_back("rank " + std::to_string(r) + " on " + hosts_[r] +
                    " is slower than the others, which wait for it: " + worst.name + " took " +
                    fixed(1e3 * worst.seconds[r], 1) + " ms a micro-batch in steps " +
                    std::to_string(first_step_) + " to " + std::to_string(last_step) + ", " +
                    fixed(1e3 * worst.median, 1) + " ms on the median rank");
  }
  return lines;
}

std::string LossWatch::observe(std::int64_t step, double loss) {
  constexpr std::int64_t kFirst = 50, kQuiet = 20;  // steps
  constexpr double kForgotten = 0.02, kDeviations = 6, kLeast = 0.1;
  if (!std::isfinite(loss)) return "";
  const double above = loss - mean_;
  const bool spike = seen_ >= kFirst && above > kDeviations * std::sqrt(variance_) &&
                     above > kLeast * std::abs(mean_);
  std::string line;
  if (spike && quiet_ == 0)
    line = "Step " + std::to_string(step) + ": a loss spike, " + fixed(loss, 4) +
           " where the steps before had " + fixed(mean_, 4) + " in the mean.";
  quiet_ = spike ? kQuiet : std::max<std::int64_t>(0, quiet_ - 1);
  // The first losses count alike; a spike itself moves the mean as much as any.
  const double weight = std::max(kForgotten, 1.0 / static_cast<double>(++seen_));
  mean_ += weight * above;
  variance_ = (1 - weight) * (variance_ + weight * above * above);
  return line;
}

}  // namespace th::train
