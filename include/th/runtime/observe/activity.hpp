#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace th::runtime {

/// What a rank does now, in memory that other processes read: of each stream of its flight record
/// the event that began last. Zero bytes are a valid value: nothing has begun. Times in nanoseconds
/// of the node's monotonic clock.
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
