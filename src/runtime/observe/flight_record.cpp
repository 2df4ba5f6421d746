#include "th/runtime/observe/flight_record.hpp"

#include <algorithm>
#include <thread>
#include <utility>

#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/runtime/observe/event_log.hpp"

namespace th::runtime {

namespace {

static_assert(sizeof(FlightRecord) < MemoryLedger::kSmallest);

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
  if (is_there(handle)) cells_[handle % kEvents].begin.store(ns, std::memory_order_release);
  if (const HeldLog log(*this); log) log->begin(handle, ns);
}

void FlightRecord::end(std::uint64_t handle, std::int64_t ns) noexcept {
  if (is_there(handle)) cells_[handle % kEvents].end.store(ns, std::memory_order_release);
  if (const HeldLog log(*this); log) log->end(handle, ns);
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
