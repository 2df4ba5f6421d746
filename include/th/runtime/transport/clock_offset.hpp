#pragma once

#include <cstdint>

#include "th/runtime/transport/collectives.hpp"

namespace th::runtime {

/// The difference of this rank's monotonic clock from rank 0's, in nanoseconds, and the largest
/// possible error in either direction.
struct ClockOffset {
  std::int64_t ns = 0;
  std::int64_t error_ns = 0;
};

/// Measures the offset by barriers. Nobody leaves a barrier before everybody has entered it, so the
/// times of entering and leaving bound the offset from both sides. The closest bounds of several
/// barriers count; the error is about the time that a barrier takes. Ranks of a node share a clock,
/// so the offset is 0 on rank 0's node, and with one node nothing is measured. `clock` is
/// monotonic_ns except in tests. Collective.
[[nodiscard]] ClockOffset measure_clock_offset(Collectives& collectives,
                                               std::int64_t (*clock)() = monotonic_ns);

}  // namespace th::runtime
