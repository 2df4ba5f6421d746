#include "th/train/observe/log_use.hpp"

#include <algorithm>
#include <memory>
#include <utility>

namespace th::train {

namespace {

using runtime::EventLog;
using runtime::FlightRecord;
using runtime::Stretches;
using What = FlightRecord::What;
using On = FlightRecord::On;

constexpr double kNanosecond = 1e-9;

bool is_between_steps(const FlightRecord::Event& event) {
  return event.what == What::kValidation || event.what == What::kCheckpoint;
}

/// Whether `event` began in one of the breaks. Asked in the order of the times.
bool began_in(Stretches& breaks, const FlightRecord::Event& event) {
  while (breaks.there() && breaks.end() <= event.begin) (void)breaks.next();
  return breaks.there() && breaks.begin() <= event.begin;
}

double key_of(const FlightRecord::Event& event) {
  constexpr double kKinds = 32, kUnits = 1 << 16;
  return (static_cast<double>(event.step) * kKinds + static_cast<double>(event.what)) * kUnits +
         static_cast<double>(event.unit + 1);
}

}  // namespace

bool is_collective(const FlightRecord::Event& event) noexcept {
  return runtime::communicates(event) || event.what == What::kNorm || event.what == What::kBorder;
}

std::int64_t count_collectives(const EventLog& log) {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < log.size(); ++i) {
    const FlightRecord::Event* event = log.at(i);
    count += event != nullptr && is_collective(*event) ? 1 : 0;
  }
  return count;
}

LogUse::LogUse(const EventLog& log) : log_(log) {
  find_steps();
  sum_up();
  passes_.emplace(within_steps(runtime::computes));
  breaks_.emplace(log_, is_between_steps);
}

Stretches LogUse::within_steps(Stretches::Of of) const {
  const auto breaks = std::make_shared<Stretches>(log_, is_between_steps);
  return Stretches(log_, [breaks, of = std::move(of)](const FlightRecord::Event& event) {
    return of(event) && !began_in(*breaks, event);
  });
}

void LogUse::find_steps() {
  for (std::int64_t i = 0; i < log_.size(); ++i) {
    const FlightRecord::Event* event = log_.at(i);
    if (event == nullptr || event->what != What::kStep || event->end == 0) continue;
    if (steps_++ == 0) begin_ = event->begin;
    end_ = std::max(end_, event->end);
  }
  for (Stretches breaks(log_, is_between_steps); breaks.there(); (void)breaks.next())
    between_ +=
        std::max<std::int64_t>(0, std::min(end_, breaks.end()) - std::max(begin_, breaks.begin()));
}

void LogUse::sum_up() {
  Stretches compute = within_steps(runtime::computes);
  for (Stretches all = within_steps(is_collective); all.there(); (void)all.next()) {
    const std::int64_t common = compute.common_with(all.begin(), all.end());
    hidden_ += common;
    exposed_ += all.end() - all.begin() - common;
  }
  while (compute.next()) {
  }
  compute_ = compute.total();
  end_ = std::max(end_, compute.end());  // a device goes on after its host's step
  Stretches beside = within_steps(runtime::computes);
  const auto waits_for_data = [](const FlightRecord::Event& event) {
    return event.what == What::kBatch && event.on == On::kHost;
  };
  for (Stretches data = within_steps(waits_for_data); data.there(); (void)data.next())
    data_ += data.end() - data.begin() - beside.common_with(data.begin(), data.end());
}

std::optional<LogUse::Collective> LogUse::next() {
  while (place_ < log_.size()) {
    const FlightRecord::Event* event = log_.at(place_++);
    if (event == nullptr || !is_collective(*event)) continue;
    return Collective{key_of(*event), event, !began_in(*breaks_, *event)};
  }
  return std::nullopt;
}

double LogUse::waited(const Collective& collective, std::int64_t latest) {
  const FlightRecord::Event& event = *collective.event;
  const std::int64_t begin = std::max(event.begin, waited_to_),
                     end = event.end == 0 ? latest : std::min(event.end, latest);
  if (!collective.within_steps || end <= begin) return 0;
  waited_to_ = end;
  const std::int64_t waited = end - begin - passes_->common_with(begin, end);
  waiting_ += waited;
  return kNanosecond * static_cast<double>(waited);
}

RankUse LogUse::result() const {
  const std::int64_t waiting = std::min(waiting_, exposed_);
  const auto seconds = [](std::int64_t ns) { return kNanosecond * static_cast<double>(ns); };
  return {seconds(std::max<std::int64_t>(0, end_ - begin_ - between_)),
          seconds(data_),
          seconds(compute_),
          seconds(exposed_ - waiting),
          seconds(waiting),
          seconds(hidden_)};
}

}  // namespace th::train
