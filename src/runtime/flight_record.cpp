#include "th/runtime/flight_record.hpp"

#include <algorithm>
#include <chrono>

#include "th/runtime/memory_ledger.hpp"

namespace th::runtime {

namespace {

static_assert(sizeof(FlightRecord) < MemoryLedger::kSmallest);

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr std::array<const char*, 5> kWhat{"forward", "backward", "gather", "reduce", "update"};
constexpr std::array<const char*, 2> kOn{"compute", "communication"};

}  // namespace

std::uint64_t FlightRecord::begin(What what, On on, std::int64_t unit) noexcept {
  const std::uint64_t handle = next_.fetch_add(1, std::memory_order_relaxed);
  Cell& cell = cells_[handle % kEvents];
  cell.begin.store(0, std::memory_order_relaxed);
  cell.end.store(0, std::memory_order_relaxed);
  cell.unit.store(static_cast<std::int32_t>(unit), std::memory_order_relaxed);
  cell.what.store(what, std::memory_order_relaxed);
  cell.on.store(on, std::memory_order_relaxed);
  cell.begin.store(now_ns(), std::memory_order_release);
  return handle;
}

void FlightRecord::end(std::uint64_t handle) noexcept {
  // An event that outlasted the ring has lost its cell.
  if (next_.load(std::memory_order_relaxed) - handle <= kEvents) cells_[handle % kEvents].end.store(now_ns(), std::memory_order_release);
}

std::vector<FlightRecord::Event> FlightRecord::events() const {
  const std::uint64_t next = next_.load();
  std::vector<Event> out;
  for (std::uint64_t at = next - std::min<std::uint64_t>(next, kEvents); at < next; ++at) {
    const Cell& cell = cells_[at % kEvents];
    const Event event{cell.what.load(), cell.on.load(), cell.unit.load(), cell.begin.load(std::memory_order_acquire), cell.end.load()};
    if (event.begin != 0) out.push_back(event);
  }
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
