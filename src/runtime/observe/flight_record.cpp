#include "th/runtime/observe/flight_record.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>

#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/observe/event_log.hpp"

namespace th::runtime {

namespace {

static_assert(sizeof(FlightRecord) < MemoryLedger::kSmallest);
static_assert(Activity::kStreams == FlightRecord::kStreams);

constexpr std::int64_t kWhats = 256;  // of an Activity's events

constexpr std::array<const char*, 17> kWhat{
    "forward",    "backward",   "gather", "reduce",    "update", "fetch",
    "norm",       "batch",      "slot",   "optimizer", "result", "step",
    "validation", "checkpoint", "border", "read",      "write"};
constexpr std::array<const char*, FlightRecord::kStreams> kOn{
    "compute", "communication", "copies", "batch copies", "host", "saves", "data reading"};

bool of_step(FlightRecord::What what) {
  return what == FlightRecord::What::kRead || what == FlightRecord::What::kWrite;
}

}  // namespace

const char* FlightRecord::name(What what) noexcept { return kWhat[static_cast<std::size_t>(what)]; }
const char* FlightRecord::name(On on) noexcept { return kOn[static_cast<std::size_t>(on)]; }

FlightRecord::HeldLog::HeldLog(FlightRecord& record) noexcept : record_(record) {
  if (record_.log_.load() == nullptr) return;
  record_.writers_.fetch_add(1);
  log_ = record_.log_.load();
  if (log_ == nullptr) record_.writers_.fetch_sub(1);
}

FlightRecord::HeldLog::~HeldLog() {
  if (log_ != nullptr) record_.writers_.fetch_sub(1);
}

std::shared_ptr<const EventLog> FlightRecord::start_log() {
  kept_ = std::make_shared<EventLog>();
  log_.store(kept_.get());
  kept_->start(next_.load());  // whoever opens these sees the log
  sample_memory();
  return kept_;
}

void FlightRecord::stop_log() noexcept {
  sample_memory();
  log_.store(nullptr);
  while (writers_.load() != 0) std::this_thread::yield();
  kept_.reset();
}

void FlightRecord::sample_memory() noexcept {
  if (const HeldLog log(*this); log) log->memory().take();
}

std::uint64_t FlightRecord::open(What what, On on, std::int64_t unit, std::int64_t slot) noexcept {
  return open({what, on, static_cast<std::int32_t>(unit), 0, 0, static_cast<std::int32_t>(slot),
               step_.load(std::memory_order_relaxed)});
}

std::uint64_t FlightRecord::open_of_step(What what, On on, std::int64_t step,
                                         std::int64_t worker) noexcept {
  return open({what, on, kNone, 0, 0, static_cast<std::int32_t>(worker), step});
}

std::uint64_t FlightRecord::open(const Event& event) noexcept {
  const std::uint64_t handle = next_.fetch_add(1);
  Cell& cell = cells_[handle % kEvents];
  cell.begin.store(0, std::memory_order_relaxed);
  cell.end.store(0, std::memory_order_relaxed);
  cell.unit.store(of_step(event.what) ? static_cast<std::int32_t>(event.step) : event.unit,
                  std::memory_order_relaxed);
  cell.what.store(event.what, std::memory_order_relaxed);
  cell.on.store(event.on, std::memory_order_relaxed);
  if (const HeldLog log(*this); log) {
    log->open(handle, event);
    // The main thread opens these: what it holds then is what its next work begins with.
    if (event.on == On::kCompute || event.on == On::kHost) log->memory().take();
  }
  return handle;
}

void FlightRecord::begin(std::uint64_t handle, std::int64_t ns) noexcept {
  if (is_there(handle)) {
    Cell& cell = cells_[handle % kEvents];
    cell.begin.store(ns, std::memory_order_release);
    show(cell, ns, false);
  }
  if (const HeldLog log(*this); log) log->begin(handle, ns);
}

void FlightRecord::end(std::uint64_t handle, std::int64_t ns) noexcept {
  if (is_there(handle)) {
    Cell& cell = cells_[handle % kEvents];
    cell.end.store(ns, std::memory_order_release);
    show(cell, ns, true);
  }
  if (const HeldLog log(*this); log) log->end(handle, ns);
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
    if (unit > 0 && of_step(static_cast<What>(what)))
      out += " of step " + std::to_string(unit - 1);
    else if (unit > 0)
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

FlightRecord::HostScope::~HostScope() {
  record_.end(handle_, monotonic_ns());
  record_.sample_memory();
}

FlightRecord::StepScope::StepScope(std::shared_ptr<FlightRecord> record, What what, On on,
                                   std::int64_t step, std::int64_t worker) noexcept
    : record_(std::move(record)) {
  if (!record_) return;
  handle_ = record_->open_of_step(what, on, step, worker);
  record_->begin(handle_, monotonic_ns());
}

FlightRecord::StepScope::~StepScope() {
  if (record_) record_->end(handle_, monotonic_ns());
}

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
    if (of_step(e.what))
      out += R"("step":)" + std::to_string(e.unit) + ",";
    else if (e.unit != kNone)
      out += R"("unit":")" + (unit < unit_names.size() ? unit_names[unit] : std::to_string(unit)) +
             R"(",)";
    out += std::string(R"("on":")") + name(e.on) + R"(","begin_ns":)" + std::to_string(e.begin) +
           R"(,"end_ns":)" + (e.end == 0 ? "null" : std::to_string(e.end)) + "}\n";
  }
  return out;
}

}  // namespace th::runtime
