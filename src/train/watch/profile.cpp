#include "th/train/watch/profile.hpp"

#include "th/io/checkpoint/output.hpp"
#include "th/monitor/header.hpp"
#include "th/monitor/trace.hpp"
#include "th/runtime/memory/resource_usage.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace th::train {

namespace {

using monitor::fixed;

using Event = runtime::EventLog::Event;
static_assert(std::is_trivially_copyable_v<Event>);

// Events that travel at once: what a trace takes on rank 0 does not grow with it.
constexpr std::int64_t kPiece = 256;

/// Up to kPiece events from `place` on as bytes, by rank 0's clock; what still goes on ends now.
std::string pack(const runtime::EventLog& log, std::int64_t place, std::int64_t clock_offset) {
  std::string out;
  const std::int64_t now = runtime::monotonic_ns();
  for (std::int64_t i = place; i < std::min(place + kPiece, log.size()); ++i) {
    const Event* there = log.at(i);
    if (there == nullptr) continue;
    Event event = *there;
    event.end = std::max(event.begin, event.end == 0 ? now : event.end) - clock_offset;
    event.begin -= clock_offset;
    out.append(reinterpret_cast<const char*>(&event), sizeof event);
  }
  return out;
}

void unpack(const std::string& bytes, monitor::TraceWriter& writer) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(Event)) {
    Event event;
    std::memcpy(&event, bytes.data() + at, sizeof event);
    writer.event(event);
  }
}

std::vector<monitor::TraceUnit> units_of(const zero::ZeroEngine& engine, std::int64_t stage) {
  const zero::BufferTypes& types = engine.buffers().types;
  const std::int64_t working = zero::element_bytes(types.working),
                     reduced = zero::element_bytes(types.reduced);
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

Profile::Profile(const config::RunConfig& config, std::int64_t first, zero::ZeroEngine& engine,
                 runtime::Collectives& collectives, std::string place, Log& log)
    : asked_first_(config.profile.first_step),
      asked_last_(last_of(config.profile)),
      stage_(config.zero.stage),
      run_first_(first),
      engine_(engine),
      collectives_(collectives),
      place_(std::move(place)),
      path_(config.run.output_dir + "/trace.json"),
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

Profile::Part Profile::my_part() const {
  Part part{runtime::monotonic_ns() - clock_.ns, events_->size(), events_->lost(),
            runtime::busy_time(*events_), clock_};
  for (std::int64_t i = 0; i < events_->size(); ++i) {
    if (const Event* event = events_->at(i))
      part.begin = std::min(part.begin, event->begin - clock_.ns);
  }
  return part;
}

std::vector<Profile::Part> Profile::gather_parts(Ranks ranks) const {
  const Part mine = my_part();
  if (ranks == Ranks::kMine) return {mine};
  const std::array<std::int64_t, 8> numbers{mine.begin,
                                            mine.events,
                                            mine.lost,
                                            mine.busy.compute,
                                            mine.busy.communication,
                                            mine.busy.overlapped,
                                            mine.clock.ns,
                                            mine.clock.error_ns};
  const std::vector<double> sent(numbers.begin(), numbers.end());
  std::vector<double> all(sent.size() * static_cast<std::size_t>(collectives_.size()));
  collectives_.all_gather_doubles(sent, all);
  std::vector<Part> out;
  for (auto at = all.begin(); at != all.end(); at += std::ssize(sent)) {
    const auto number = [&](int k) { return static_cast<std::int64_t>(at[k]); };
    out.push_back({number(0),
                   number(1),
                   number(2),
                   {number(3), number(4), number(5)},
                   {number(6), number(7)}});
  }
  return out;
}

void Profile::write(Ranks ranks) {
  try {
    engine_.settle();
  } catch (const Error&) {  // of the streams of a run that ends: what they have told is there
    if (ranks == Ranks::kAll) throw;
  }
  const std::vector<Part> parts = gather_parts(ranks);
  const std::string place = "rank " + std::to_string(collectives_.rank()) + " on " +
                            runtime::hostname() + " (" + place_ + ")";
  const std::vector<std::string> places =
      ranks == Ranks::kAll ? collectives_.gather_texts(place) : std::vector<std::string>{place};
  const std::string failure = write_file(parts, places);
  if (ranks == Ranks::kAll) {  // else somebody may still write events
    engine_.flight_record()->stop_log();
    events_.reset();
  }
  if (collectives_.rank() != 0) return;
  if (!failure.empty()) return log_.warn(path_ + " was not written: " + failure);
  report(parts);
}

std::string Profile::write_file(const std::vector<Part>& parts,
                                const std::vector<std::string>& places) {
  std::string failure;
  const auto attempt = [&](const auto& body) {  // the other ranks send all the same
    if (collectives_.rank() != 0 || !failure.empty()) return;
    try {
      body();
    } catch (const Error& error) {
      failure = error.what();
    }
  };
  std::optional<io::OutputFile> file;
  std::optional<monitor::TraceWriter> writer;
  attempt([&] {
    file.emplace(path_, io::Existing::kReplace);
    const auto sink = [&file](std::string_view text) {
      file->write(std::as_bytes(std::span(text)));
    };
    const auto zero =
        std::min_element(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
          return a.begin < b.begin;
        })->begin;
    writer.emplace(sink, units_of(engine_, stage_), zero);
  });
  for (std::size_t r = 0; r < parts.size(); ++r) {
    attempt([&] { writer->rank(static_cast<int>(r), places[r]); });
    for (std::int64_t at = 0; at < parts[r].events; at += kPiece) {
      std::string piece =
          std::cmp_equal(r, collectives_.rank()) ? pack(*events_, at, clock_.ns) : std::string();
      if (r > 0) collectives_.broadcast(piece, static_cast<int>(r));
      attempt([&] { unpack(piece, *writer); });
    }
  }
  attempt([&] {
    std::vector<std::pair<std::string, std::string>> notes{{"run", path_},
                                                           {"steps", range_text(begun_, step_)}};
    for (std::size_t r = 0; r < parts.size(); ++r) {
      const runtime::ClockOffset& clock = parts[r].clock;
      if (clock.error_ns == 0) continue;
      notes.emplace_back("clock of rank " + std::to_string(r),
                         std::to_string(clock.ns) + " ns taken off, right to " +
                             std::to_string(clock.error_ns) + " ns");
    }
    writer->finish(notes);
    file->commit();
  });
  return failure;
}

void Profile::report(const std::vector<Part>& parts) {
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
  std::string text = "Trace of " + range_text(begun_, step_) + ", " + std::to_string(parts.size()) +
                     (parts.size() == 1 ? " rank, " : " ranks, ") + std::to_string(events) +
                     " events: " + path_ + ". Rank 0: compute " +
                     seconds_text(parts[0].busy.compute) + ", " + communication_text(parts[0].busy);
  if (worst != 0)
    text +=
        "; least on rank " + std::to_string(worst) + ": " + communication_text(parts[worst].busy);
  log_.info(text);
}

}  // namespace th::train
