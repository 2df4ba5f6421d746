#include "th/train/watch/profile.hpp"

#include "th/base/counted.hpp"
#include "th/config/state_names.hpp"
#include "th/monitor/header.hpp"
#include "th/monitor/trace.hpp"
#include "th/runtime/memory/resource_usage.hpp"

#include <array>
#include <limits>
#include <utility>
#include <vector>

namespace th::train {

namespace {

using monitor::fixed;

std::vector<monitor::TraceUnit> units_of(const zero::ZeroEngine& engine, std::int64_t stage) {
  const zero::BufferTypes& types = engine.buffers().types;
  const std::int64_t working = element_size(types.working), reduced = element_size(types.reduced);
  std::vector<monitor::TraceUnit> out;
  for (const zero::FlatLayout::Unit& unit : engine.layout().units()) {
    out.push_back({unit.name, unit.padded * (stage == 0 ? reduced : working), unit.padded * reduced,
                   unit.shard * working});  // stage 0 gathers sums
  }
  return out;
}

std::int64_t last_of(const config::ProfileSection& keys) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  return keys.first_step > kMost - (keys.steps - 1) ? kMost : keys.first_step + keys.steps - 1;
}

std::string range_text(std::int64_t first, std::int64_t last) {
  return first == last ? "step " + std::to_string(first)
                       : "steps " + std::to_string(first) + " to " + std::to_string(last);
}

std::string seconds_text(std::int64_t ns) {
  return fixed(static_cast<double>(ns) * 1e-9, 3) + " s";
}
double overlapped_share(const runtime::BusyTime& busy) {
  return busy.communication == 0
             ? 1
             : static_cast<double>(busy.overlapped) / static_cast<double>(busy.communication);
}
std::string communication_text(const runtime::BusyTime& busy) {
  const std::string share =
      busy.communication == 0
          ? ""
          : ", " + fixed(100 * overlapped_share(busy), 1) + " % of it beside compute";
  return "communication " + seconds_text(busy.communication) + share;
}

}  // namespace

Profile::Profile(const RunFacts& facts, std::int64_t first, zero::ZeroEngine& engine,
                 runtime::Collectives& collectives, std::string place, Log& log)
    : facts_(facts),
      asked_first_(facts.config.profile.first_step),
      asked_last_(last_of(facts.config.profile)),
      run_first_(first),
      engine_(engine),
      collectives_(collectives),
      place_(std::move(place)),
      path_(facts.config.run.output_dir + "/trace.json"),
      log_(log) {
  log_.info("Profile: " + range_text(asked_first_, asked_last_) + " of all ranks, to " + path_);
}

void Profile::begin_step(std::int64_t step) {
  step_ = step;
  engine_.flight_record()->set_step(step);
  if (begun_ != 0 || step < asked_first_ || step > asked_last_) return;
  engine_.settle();
  clock_ = runtime::measure_clock_offset(collectives_);
  events_ = engine_.flight_record()->start_log();
  begun_ = step;
}

void Profile::end_step() {
  if (events_ && step_ == asked_last_) write(Ranks::kAll);
}

void Profile::end_run() {
  if (events_) write(Ranks::kAll);
  if (begun_ != 0 || step_ == 0 || collectives_.rank() != 0) return;
  log_.warn("profile.first_step and profile.steps ask for " +
            range_text(asked_first_, asked_last_) + ", and this run had " +
            range_text(run_first_, step_) + ": there is no trace of it");
}

void Profile::give_up(const Error& error) noexcept {
  const bool all = error.exit_code() == ExitCode::kNumerics;
  if (!events_ || (!all && collectives_.rank() != 0)) return;
  try {
    write(all ? Ranks::kAll : Ranks::kMine);
  } catch (const std::exception& other) {
    if (collectives_.rank() == 0) log_.warn(path_ + " was not written: " + other.what());
  }
}

std::vector<TracePart> Profile::gather_parts(const TraceFile::Source& source, Ranks ranks) const {
  const TracePart mine = TraceFile::part_of(source);
  if (ranks == Ranks::kMine) return {mine};
  const std::array<std::int64_t, 10> numbers{mine.begin,
                                             mine.events,
                                             mine.lost,
                                             mine.samples,
                                             mine.collectives,
                                             mine.busy.compute,
                                             mine.busy.communication,
                                             mine.busy.overlapped,
                                             mine.clock.ns,
                                             mine.clock.error_ns};
  const std::vector<double> sent(numbers.begin(), numbers.end());
  std::vector<double> all(sent.size() * static_cast<std::size_t>(collectives_.size()));
  collectives_.control().all_gather_doubles(sent, all);
  std::vector<TracePart> out;
  for (auto at = all.begin(); at != all.end(); at += std::ssize(sent)) {
    const auto number = [&](int k) { return static_cast<std::int64_t>(at[k]); };
    out.push_back({number(0),
                   number(1),
                   number(2),
                   number(3),
                   number(4),
                   {number(5), number(6), number(7)},
                   {number(8), number(9)}});
  }
  return out;
}

void Profile::write(Ranks ranks) {
  try {
    engine_.settle();
  } catch (const Error&) {  // of the streams of a run that ends: what they have told is there
    if (ranks == Ranks::kAll) throw;
  }
  engine_.flight_record()->stop_log();
  const std::shared_ptr<const runtime::EventLog> events = std::exchange(events_, nullptr);
  const TraceFile::Source source{*events, clock_};
  const std::vector<TracePart> parts = gather_parts(source, ranks);
  const std::string place = "rank " + std::to_string(collectives_.rank()) + " on " +
                            runtime::hostname() + " (" + place_ + ")";
  const std::vector<std::string> places = ranks == Ranks::kAll
                                              ? collectives_.control().gather_texts(place)
                                              : std::vector<std::string>{place};
  const std::vector<const char*> states = config::state_names(facts_.config);
  TraceFile file(path_, collectives_.control(), source, parts);
  file.begin(units_of(engine_, facts_.config.zero.stage), states);
  file.write_ranks(places);
  TimeUse use = file.join_ranks();
  use.first_step = begun_;
  use.last_step = step_;
  std::vector<std::string> words;  // of one rank among others nothing is known of its waits
  if (std::cmp_equal(parts.size(), collectives_.size()))
    words = verdict(use, facts_, TimesOf::kAllStreams);
  file.finish(notes(parts, words));
  if (collectives_.rank() != 0) return;
  if (!file.failure().empty()) return log_.warn(path_ + " was not written: " + file.failure());
  report(parts);
  for (const std::string& line : words) log_.info(line);
}

std::vector<std::pair<std::string, std::string>> Profile::notes(
    const std::vector<TracePart>& parts, const std::vector<std::string>& words) const {
  std::vector<std::pair<std::string, std::string>> out{{"run", path_},
                                                       {"steps", range_text(begun_, step_)}};
  for (std::size_t i = 0; i < words.size(); ++i)
    out.emplace_back("verdict " + std::to_string(i + 1), words[i]);
  for (std::size_t r = 0; r < parts.size(); ++r) {
    const runtime::ClockOffset& clock = parts[r].clock;
    if (clock.error_ns == 0) continue;
    out.emplace_back("clock of rank " + std::to_string(r),
                     std::to_string(clock.ns) + " ns taken off, right to " +
                         std::to_string(clock.error_ns) + " ns");
  }
  return out;
}

void Profile::report(const std::vector<TracePart>& parts) {
  std::int64_t events = 0;
  std::size_t worst = 0;
  for (std::size_t r = 0; r < parts.size(); ++r) {
    events += parts[r].events;
    if (overlapped_share(parts[r].busy) < overlapped_share(parts[worst].busy)) worst = r;
    if (parts[r].lost == 0) continue;
    log_.warn(path_ + " has the first " + std::to_string(parts[r].events) + " events of rank " +
              std::to_string(r) + ", " + std::to_string(parts[r].lost) +
              " are missing: take fewer profile.steps");
  }
  std::string text = "Trace of " + range_text(begun_, step_) + ", " +
                     counted(std::ssize(parts), "rank") + ", " + std::to_string(events) +
                     " events: " + path_ + ". Rank 0: compute " +
                     seconds_text(parts[0].busy.compute) + ", " + communication_text(parts[0].busy);
  if (worst != 0)
    text +=
        "; least on rank " + std::to_string(worst) + ": " + communication_text(parts[worst].busy);
  log_.info(text);
}

}  // namespace th::train
