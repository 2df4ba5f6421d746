#include "th/runtime/flight_record.hpp"

#include <algorithm>

#include "th/base/error.hpp"
#include "th/runtime/memory_ledger.hpp"

namespace th::runtime {

namespace {

static_assert(sizeof(FlightRecord) < MemoryLedger::kSmallest);

constexpr std::array<const char*, 6> kWhat{"forward", "backward", "gather", "reduce", "update", "fetch"};
constexpr std::array<const char*, 3> kOn{"compute", "communication", "copies"};

}  // namespace

std::uint64_t FlightRecord::open(What what, On on, std::int64_t unit) noexcept {
  const std::uint64_t handle = next_.fetch_add(1, std::memory_order_relaxed);
  Cell& cell = cells_[handle % kEvents];
  cell.begin.store(0, std::memory_order_relaxed);
  cell.end.store(0, std::memory_order_relaxed);
  cell.unit.store(static_cast<std::int32_t>(unit), std::memory_order_relaxed);
  cell.what.store(what, std::memory_order_relaxed);
  cell.on.store(on, std::memory_order_relaxed);
  return handle;
}

void FlightRecord::begin(std::uint64_t handle, std::int64_t ns) noexcept {
  if (is_there(handle)) cells_[handle % kEvents].begin.store(ns, std::memory_order_release);
}

void FlightRecord::end(std::uint64_t handle, std::int64_t ns) noexcept {
  if (is_there(handle)) cells_[handle % kEvents].end.store(ns, std::memory_order_release);
}

std::uint64_t FlightRecord::begin(const std::shared_ptr<FlightRecord>& record, Stream& stream, What what, On on, std::int64_t unit) {
  const std::uint64_t handle = record->open(what, on, unit);
  stream.stamp([record, handle](std::int64_t ns) { record->begin(handle, ns); });
  return handle;
}

void FlightRecord::end(const std::shared_ptr<FlightRecord>& record, Stream& stream, std::uint64_t handle) {
  stream.stamp([record, handle](std::int64_t ns) { record->end(handle, ns); });
}

FlightRecord::Scope::Scope(const std::shared_ptr<FlightRecord>& record, Stream& stream, What what, On on, std::int64_t unit)
    : record_(record), stream_(stream), handle_(FlightRecord::begin(record, stream, what, on, unit)) {}

FlightRecord::Scope::~Scope() {
  try {
    FlightRecord::end(record_, stream_, handle_);
  } catch (const Error&) {  // of the device: the scope's own calls report it
  }
}

std::vector<FlightRecord::Event> FlightRecord::events() const {
  const std::uint64_t next = next_.load();
  std::vector<Event> out;
  for (std::uint64_t at = next - std::min<std::uint64_t>(next, kEvents); at < next; ++at) {
    const Cell& cell = cells_[at % kEvents];
    const Event event{cell.what.load(), cell.on.load(), cell.unit.load(), cell.begin.load(std::memory_order_acquire), cell.end.load()};
    if (event.begin != 0) out.push_back(event);
  }
  std::stable_sort(out.begin(), out.end(), [](const Event& a, const Event& b) { return a.begin < b.begin; });
  return out;
}

std::string FlightRecord::text(std::span<const std::string> unit_names) const {
  std::string out;
  for (const Event& e : events()) {
    const auto unit = static_cast<std::size_t>(e.unit);
    out += std::string(R"({"what":")") + kWhat[static_cast<std::size_t>(e.what)] + R"(","unit":")" +
           (unit < unit_names.size() ? unit_names[unit] : std::to_string(unit)) + R"(","on":")" + kOn[static_cast<std::size_t>(e.on)] +
           R"(","begin_ns":)" + std::to_string(e.begin) + R"(,"end_ns":)" + (e.end == 0 ? "null" : std::to_string(e.end)) + "}\n";
  }
  return out;
}

}  // namespace th::runtime
