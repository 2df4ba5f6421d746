#include "th/train/observe/time_use.hpp"

#include <algorithm>

namespace th::train {

RankUse& RankUse::operator+=(const RankUse& other) {
  seconds += other.seconds;
  data += other.data;
  compute += other.compute;
  communication += other.communication;
  waiting += other.waiting;
  hidden += other.hidden;
  return *this;
}

TimeUse TimeUse::of(std::size_t ranks) {
  TimeUse use;
  use.ranks.resize(ranks);
  use.waited_for.resize(ranks);
  return use;
}

void TimeUse::add(std::int64_t step, std::span<const StepTimes> times) {
  if (times.empty() || times.size() != ranks.size()) return;
  if (steps++ == 0) first_step = step;
  last_step = step;
  const auto last = std::min_element(
      times.begin(), times.end(),
      [](const StepTimes& a, const StepTimes& b) { return a.communication < b.communication; });
  double waited = 0;
  for (std::size_t r = 0; r < times.size(); ++r) {
    const StepTimes& t = times[r];
    const double waiting = t.communication - last->communication;
    waited += waiting;
    ranks[r] += {t.data + t.compute + t.communication,
                 t.data,
                 t.compute,
                 last->communication,
                 waiting,
                 t.hidden};
  }
  waited_for[static_cast<std::size_t>(last - times.begin())] += waited;
}

RankUse TimeUse::total() const {
  RankUse sum;
  for (const RankUse& one : ranks) sum += one;
  return sum;
}

}  // namespace th::train
