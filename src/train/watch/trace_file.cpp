#include "th/train/watch/trace_file.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <span>
#include <string_view>
#include <type_traits>

#include "th/base/error.hpp"
#include "th/train/watch/log_use.hpp"

namespace th::train {

namespace {

using runtime::EventLog;
using runtime::MemorySamples;
using TraceEvent = EventLog::Event;
static_assert(std::is_trivially_copyable_v<TraceEvent> &&
              std::is_trivially_copyable_v<MemorySamples::Sample>);

// What travels at once: what a trace takes on a rank does not grow with it, and the ledger does not
// count blocks so small.
constexpr std::int64_t kEventsAtOnce = 256, kSamplesAtOnce = 100, kTimesAtOnce = 512;
static_assert(kEventsAtOnce * sizeof(TraceEvent) < runtime::MemoryLedger::kSmallest &&
              kSamplesAtOnce * sizeof(MemorySamples::Sample) < runtime::MemoryLedger::kSmallest);

template <typename T>
void append(std::string& bytes, const T& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
void for_each_in(const std::string& bytes, const std::function<void(const T&)>& take) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    take(value);
  }
}

/// Events from `first` on as bytes, by rank 0's clock; what still goes on ends now.
std::string pack_events(const TraceFile::Source& source, std::int64_t first) {
  std::string out;
  out.reserve(kEventsAtOnce * sizeof(TraceEvent));
  const std::int64_t now = runtime::monotonic_ns();
  for (std::int64_t i = first; i < std::min(first + kEventsAtOnce, source.log.size()); ++i) {
    const TraceEvent* there = source.log.at(i);
    if (there == nullptr) continue;
    TraceEvent event = *there;
    event.end = std::max(event.begin, event.end == 0 ? now : event.end) - source.clock.ns;
    event.begin -= source.clock.ns;
    append(out, event);
  }
  return out;
}

std::string pack_samples(const TraceFile::Source& source, std::int64_t first) {
  const MemorySamples& memory = source.log.memory();
  std::string out;
  out.reserve(kSamplesAtOnce * sizeof(MemorySamples::Sample));
  for (std::int64_t i = first; i < std::min(first + kSamplesAtOnce, memory.size()); ++i) {
    MemorySamples::Sample sample = memory.at(i);
    sample.ns -= source.clock.ns;
    append(out, sample);
  }
  return out;
}

}  // namespace

TraceFile::TraceFile(std::string path, runtime::ControlCalls& control, Source source,
                     std::vector<TracePart> parts)
    : path_(std::move(path)), control_(control), source_(source), parts_(std::move(parts)) {}

TracePart TraceFile::part_of(const Source& source) {
  const EventLog& log = source.log;
  TracePart part;
  part.begin = runtime::monotonic_ns();
  for (std::int64_t i = 0; i < log.size(); ++i) {
    if (const TraceEvent* event = log.at(i)) part.begin = std::min(part.begin, event->begin);
  }
  if (log.memory().size() > 0) part.begin = std::min(part.begin, log.memory().at(0).ns);
  part.begin -= source.clock.ns;
  part.events = log.size();
  part.lost = log.lost() + log.memory().lost();
  part.samples = log.memory().size();
  part.collectives = count_collectives(log);
  part.busy = runtime::busy_time(log);
  part.clock = source.clock;
  return part;
}

void TraceFile::attempt(const std::function<void()>& body) {
  if (control_.rank() != 0 || !failure_.empty()) return;
  try {
    body();
  } catch (const Error& error) {
    failure_ = error.what();
  }
}

void TraceFile::begin(const std::vector<monitor::TraceUnit>& units, runtime::StateNames states) {
  attempt([&] {
    file_.emplace(path_, io::Existing::kReplace);
    const auto sink = [this](std::string_view text) {
      file_->write(std::as_bytes(std::span(text)));
    };
    const auto first =
        std::min_element(parts_.begin(), parts_.end(),
                         [](const TracePart& a, const TracePart& b) { return a.begin < b.begin; });
    writer_.emplace(sink, units, first->begin, states);
  });
}

void TraceFile::send(std::size_t rank, std::int64_t count,
                     const std::function<std::string(std::int64_t)>& pack,
                     const std::function<void(const std::string&)>& take) {
  const bool mine = std::cmp_equal(rank, control_.rank());
  for (std::int64_t i = 0; i < count; ++i) {
    std::string piece = mine ? pack(i) : std::string();
    if (rank > 0) control_.broadcast(piece, static_cast<int>(rank));
    attempt([&] { take(piece); });
  }
}

void TraceFile::write_ranks(const std::vector<std::string>& names) {
  const auto pieces = [](std::int64_t all, std::int64_t at_once) {
    return (all + at_once - 1) / at_once;
  };
  for (std::size_t r = 0; r < parts_.size(); ++r) {
    attempt([&] { writer_->rank(static_cast<int>(r), names[r]); });
    send(
        r, pieces(parts_[r].events, kEventsAtOnce),
        [this](std::int64_t i) { return pack_events(source_, i * kEventsAtOnce); },
        [this](const std::string& bytes) {
          for_each_in<TraceEvent>(bytes, [this](const TraceEvent& e) { writer_->event(e); });
        });
    send(
        r, pieces(parts_[r].samples, kSamplesAtOnce),
        [this](std::int64_t i) { return pack_samples(source_, i * kSamplesAtOnce); },
        [this](const std::string& bytes) {
          for_each_in<MemorySamples::Sample>(
              bytes, [this](const MemorySamples::Sample& s) { writer_->memory(s); });
        });
  }
}

void TraceFile::write_arrows(const TraceEvent& mine, const std::vector<std::int64_t>& begins) {
  using End = monitor::TraceArrow::End;
  attempt([&] {
    std::vector<std::size_t> order(begins.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return begins[a] < begins[b]; });
    for (const std::size_t r : order) {
      const End end = r == order.front()  ? End::kFirst
                      : r == order.back() ? End::kLast
                                          : End::kBetween;
      writer_->arrow({end, joined_, static_cast<int>(r), mine.what, mine.on, begins[r]});
    }
  });
}

bool TraceFile::join(LogUse& mine, std::int64_t count, std::vector<double>& waited_for) {
  const std::size_t ranks = parts_.size();
  std::vector<LogUse::Collective> here;
  std::vector<double> sent, all(2 * static_cast<std::size_t>(count) * ranks);
  for (std::int64_t i = 0; i < count; ++i) {
    here.push_back(mine.next().value());
    sent.push_back(here.back().key);
    sent.push_back(static_cast<double>(here.back().event->begin - source_.clock.ns));
  }
  control_.all_gather_doubles(sent, all);
  std::vector<std::int64_t> begins(ranks);
  for (std::size_t i = 0; i < here.size(); ++i) {
    for (std::size_t r = 0; r < ranks; ++r) {
      const double* of_rank = &all[r * sent.size() + 2 * i];
      if (of_rank[0] != here[i].key) return false;
      begins[r] = static_cast<std::int64_t>(of_rank[1]);
    }
    const auto last = std::max_element(begins.begin(), begins.end());
    waited_for[static_cast<std::size_t>(last - begins.begin())] +=
        mine.waited(here[i], *last + source_.clock.ns);
    write_arrows(*here[i].event, begins);
    ++joined_;
  }
  return true;
}

TimeUse TraceFile::join_ranks() {
  const std::size_t ranks = parts_.size();
  LogUse mine(source_.log);
  TimeUse use = TimeUse::of(ranks);
  use.steps = mine.steps();
  if (ranks > 1) {
    std::int64_t left = parts_[0].collectives;
    for (const TracePart& part : parts_) left = std::min(left, part.collectives);
    const std::int64_t at_once = std::max<std::int64_t>(1, kTimesAtOnce / std::ssize(parts_));
    for (bool same = true; same && left > 0; left -= at_once)
      same = join(mine, std::min(left, at_once), use.waited_for);
    control_.sum_in_rank_order(use.waited_for);
  }
  const RankUse r = mine.result();
  const std::array<double, 6> sent{r.seconds,       r.data,    r.compute,
                                   r.communication, r.waiting, r.hidden};
  std::vector<double> all(sent.begin(), sent.end());
  if (ranks > 1) {
    all.resize(sent.size() * ranks);
    control_.all_gather_doubles(sent, all);
  }
  for (std::size_t k = 0; k < ranks; ++k) {
    const double* of_rank = &all[k * sent.size()];
    use.ranks[k] = {of_rank[0], of_rank[1], of_rank[2], of_rank[3], of_rank[4], of_rank[5]};
  }
  return use;
}

void TraceFile::finish(const std::vector<std::pair<std::string, std::string>>& notes) {
  attempt([&] {
    writer_->finish(notes);
    file_->commit();
  });
}

}  // namespace th::train
