#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace th::runtime {

/// What a rank is doing now, in memory that other processes read: for each stream of its flight
/// record the event that began last. All bytes 0 mean that nothing has begun. Times are in
/// nanoseconds of the node's monotonic clock.
struct Activity {
  static constexpr std::size_t kStreams = 7;  ///< FlightRecord::kStreams
  struct Cell {
    /// 0: none; else 1 + what + 256 (unit + 1), negative once the event has ended.
    std::atomic<std::int64_t> event;
    std::atomic<std::int64_t> since;
  };
  std::array<Cell, kStreams> cells;
};
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

}  // namespace th::runtime
