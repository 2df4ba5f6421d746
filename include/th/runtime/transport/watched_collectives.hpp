#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "th/runtime/device/stream.hpp"
#include "th/runtime/observe/watchdog.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/runtime/transport/order_check.hpp"

namespace th::runtime {

/// The traffic of one kind of call for one class of data: payload bytes of this rank, by the
/// algorithm's volume.
struct TrafficRow {
  std::string collective;  ///< "exchange", "all_gather", "all_reduce", "control"
  std::string data;        ///< "gradients", "parameters", "scalars and texts"
  std::int64_t calls = 0, sent = 0, received = 0;
  /// Sent to ranks of other nodes, Collectives::bytes_between_nodes().
  std::int64_t between_nodes = 0;
};

/// Collectives that report every call to the watchdog, which names the missing rank if a call does
/// not end in time, and count it in a table of traffic. One thread at a time calls them.
class WatchedCollectives : public Collectives {
 public:
  /// From here on a call must come from a task of `stream`, or find it drained, because ranks make
  /// their collectives in one order, and MPI sees one thread. Any other call throws InternalError.
  /// Null: no such rule. The stream must live until it is replaced.
  virtual void follow(const Stream* stream) = 0;
  /// The kinds of calls made so far, in a fixed order.
  [[nodiscard]] virtual std::vector<TrafficRow> traffic() const = 0;
  /// Nanoseconds that the thread which made this object has spent in calls. Those of a
  /// communication thread do not count, because they overlap its work.
  [[nodiscard]] virtual std::int64_t own_ns() const noexcept = 0;
  /// The same for all other threads together.
  [[nodiscard]] virtual std::int64_t others_ns() const noexcept = 0;
};

/// Counts bytes from here on. `check`, if it is given, compares the ranks' calls before each call.
/// `inner`, `watchdog` and `check` outlive the result.
[[nodiscard]] std::unique_ptr<WatchedCollectives> make_watched_collectives(
    Collectives& inner, Watchdog& watchdog, OrderCheck* check = nullptr);

}  // namespace th::runtime
