#include "th/runtime/observe/flight_record.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/observe/event_log.hpp"

namespace th::runtime {

namespace {

static_assert(sizeof(FlightRecord) < MemoryLedger::kSmallest);
static_assert(Activity::kStreams == FlightRecord::kStreams);

constexpr std::int64_t kWhats = 256;  // of an Activity's events

constexpr std::array<const char*, 14> kWhat{
    "forward", "backward", "gather",    "reduce", "update", "fetch",      "norm",
    "batch",   "slot",     "optimizer", "result", "step",   "validation", "checkpoint"};
constexpr std::array<const char*, FlightRecord::kStreams> kOn{"compute", "communication", "copies",
                                                              "batch copies", "host"};

}  // namespace

const char* FlightRecord::name(What what) noexcept { return kWhat[static_cast<std::size_t>(what)]; }
const char* FlightRecord::name(On on) noexcept { return kOn[static_cast<std::size_t>(on)]; }

std::shared_ptr<const EventLog> FlightRecord::start_log() {
  kept_ = std::make_shared<EventLog>(next_.load());
  log_.store(kept_.get(), std::memory_order_release);
  return kept_;
}

void FlightRecord::stop_log() noexcept {
  log_.store(nullptr);
  kept_.reset();
}

std::uint64_t FlightRecord::open(What what, On on, std::int64_t unit, std::int64_t slot) noexcept {
  const std::uint64_t handle = next_.fetch_add(1, std::memory_order_relaxed);
  Cell& cell = cells_[handle % kEvents];
  cell.begin.store(0, std::memory_order_relaxed);
  cell.end.store(0, std::memory_order_relaxed);
  cell.unit.store(static_cast<std::int32_t>(unit), std::memory_order_relaxed);
  cell.what.store(what, std::memory_order_relaxed);
  cell.on.store(on, std::memory_order_relaxed);
  if (EventLog* log = log_.load(std::memory_order_acquire)) {
    log->open(handle, {what, on, static_cast<std::int32_t>(unit), 0, 0,
                       static_cast<std::int32_t>(slot), step_.load(std::memory_order_relaxed)});
  }
  return handle;
}

void FlightRecord::begin(std::uint64_t handle, std::int64_t ns) noexcept {
  if (is_there(handle)) {
    Cell& cell = cells_[handle % kEvents];
    cell.begin.store(ns, std::memory_order_release);
    show(cell, ns, false);
  }
  if (EventLog* log = log_.load(std::memory_order_acquire)) log->begin(handle, ns);
}

void FlightRecord::end(std::uint64_t handle, std::int64_t ns) noexcept {
  if (is_there(handle)) {
    Cell& cell = cells_[handle % kEvents];
    cell.end.store(ns, std::memory_order_release);
    show(cell, ns, true);
  }
  if (EventLog* log = log_.load(std::memory_order_acquire)) log->end(handle, ns);
}

void FlightRecord::show(const Cell& cell, std::int64_t ns, bool ended) noexcept {
  Activity* shown = shown_.load(std::memory_order_acquire);
  if (shown == nullptr) return;
  const std::int64_t event = 1 + static_cast<std::int64_t>(cell.what.load()) +
                             kWhats * (std::int64_t{cell.unit.load()} + 1);
  Activity::Cell& on = shown->cells[static_cast<std::size_t>(cell.on.load())];
  on.since.store(ns, std::memory_order_relaxed);
  on.event.store(ended ? -event : event, std::memory_order_release);
}

std::string FlightRecord::text_of(const Activity& shown, std::span<const std::string> unit_names,
                                  std::int64_t now) {
  std::string out;
  for (std::size_t stream = 0; stream < kStreams; ++stream) {
    const std::int64_t event = shown.cells[stream].event.load(std::memory_order_acquire);
    if (event == 0) continue;
    const auto number = static_cast<std::size_t>(std::abs(event) - 1);
    const std::size_t what = number % kWhats, unit = number / kWhats;
    if (what >= kWhat.size()) continue;
    out += std::string(out.empty() ? "" : "; ") + kOn[stream] + ": " + (event < 0 ? "after " : "") +
           kWhat[what];
    if (unit > 0)
      out += " of " + (unit <= unit_names.size() ? unit_names[unit - 1] : std::to_string(unit - 1));
    std::array<char, 32> time{};
    std::snprintf(time.data(), time.size(), " for %.1f s",
                  static_cast<double>(now - shown.cells[stream].since.load()) * 1e-9);
    out += time.data();
  }
  return out;
}

std::uint64_t FlightRecord::begin(const std::shared_ptr<FlightRecord>& record, Stream& stream,
                                  What what, On on, std::int64_t unit, std::int64_t slot) {
  const std::uint64_t handle = record->open(what, on, unit, slot);
  restart(record, stream, handle);
  return handle;
}

void FlightRecord::restart(const std::shared_ptr<FlightRecord>& record, Stream& stream,
                           std::uint64_t handle) {
  stream.stamp([record, handle](std::int64_t ns) { record->begin(handle, ns); });
}

void FlightRecord::end(const std::shared_ptr<FlightRecord>& record, Stream& stream,
                       std::uint64_t handle) {
  stream.stamp([record, handle](std::int64_t ns) { record->end(handle, ns); });
}

FlightRecord::Scope::Scope(const std::shared_ptr<FlightRecord>& record, Stream& stream, What what,
                           On on, std::int64_t unit, std::int64_t slot)
    : record_(record),
      stream_(stream),
      handle_(FlightRecord::begin(record, stream, what, on, unit, slot)) {}

FlightRecord::Scope::~Scope() {
  try {
    FlightRecord::end(record_, stream_, handle_);
  } catch (const Error&) {  // of the device: the scope's own calls report it
  }
}

FlightRecord::HostScope::HostScope(FlightRecord& record, What what, std::int64_t slot) noexcept
    : record_(record), handle_(record.open(what, On::kHost, kNone, slot)) {
  record_.begin(handle_, monotonic_ns());
}

FlightRecord::HostScope::~HostScope() { record_.end(handle_, monotonic_ns()); }

std::vector<FlightRecord::Event> FlightRecord::events() const {
  const std::uint64_t next = next_.load();
  std::vector<Event> out;
  for (std::uint64_t at = next - std::min<std::uint64_t>(next, kEvents); at < next; ++at) {
    const Cell& cell = cells_[at % kEvents];
    const Event event{cell.what.load(), cell.on.load(), cell.unit.load(),
                      cell.begin.load(std::memory_order_acquire), cell.end.load()};
    if (event.begin != 0) out.push_back(event);
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Event& a, const Event& b) { return a.begin < b.begin; });
  return out;
}

std::string FlightRecord::text(std::span<const std::string> unit_names) const {
  std::string out;
  for (const Event& e : events()) {
    const auto unit = static_cast<std::size_t>(e.unit);
    out += std::string(R"({"what":")") + name(e.what) + R"(",)";
    if (e.unit != kNone)
      out += R"("unit":")" + (unit < unit_names.size() ? unit_names[unit] : std::to_string(unit)) +
             R"(",)";
    out += std::string(R"("on":")") + name(e.on) + R"(","begin_ns":)" + std::to_string(e.begin) +
           R"(,"end_ns":)" + (e.end == 0 ? "null" : std::to_string(e.end)) + "}\n";
  }
  return out;
}

}  // namespace th::runtime
