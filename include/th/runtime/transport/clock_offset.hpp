#pragma once

#include <cstdint>

#include "th/runtime/transport/collectives.hpp"

namespace th::runtime {

/// This rank's monotonic clock less that of rank 0, in nanoseconds, and how far that may be off in
/// either direction.
struct ClockOffset {
  std::int64_t ns = 0;
  std::int64_t error_ns = 0;
};

/// Measures it by barriers: nobody leaves one before everybody has entered it, so the times of both
/// bound the offset from both sides, and the closest bounds of several barriers count: the error is
/// about the time that a barrier takes. Ranks of a node share a clock: 0 on that of rank 0, where
/// nothing is measured if there is no other. `clock`: monotonic_ns, but in tests. Collective.
[[nodiscard]] ClockOffset measure_clock_offset(Collectives& collectives,
                                               std::int64_t (*clock)() = monotonic_ns);

}  // namespace th::runtime
