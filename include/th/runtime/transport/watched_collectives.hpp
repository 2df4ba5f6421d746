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

/// What passed through one kind of call for one class of data: payload bytes of this rank, by the
/// algorithm's volume.
struct TrafficRow {
  std::string collective;  ///< "exchange", "all_gather", "all_reduce", "control"
  std::string data;        ///< "gradients", "parameters", "scalars and texts"
  std::int64_t calls = 0, sent = 0, received = 0;
  /// Sent to ranks of other nodes, Collectives::bytes_between_nodes().
  std::int64_t between_nodes = 0;
};

/// Collectives with every call announced to the watchdog, which names the missing rank when a call
/// does not end in time, and entered into a table of traffic. One thread at a time calls them.
class WatchedCollectives : public Collectives {
 public:
  /// From here on a call must come out of a task of `stream`, or find it drained: ranks make their
  /// collectives in one order, and MPI sees one thread. Any other call throws InternalError. Null:
  /// no such rule. The stream lives until it is replaced.
  virtual void follow(const Stream* stream) = 0;
  /// The kinds of calls made so far, in a fixed order; those that never were are left out.
  [[nodiscard]] virtual std::vector<TrafficRow> traffic() const = 0;
  /// Nanoseconds that the thread which made this object has spent in calls: those of a
  /// communication thread are beside its work.
  [[nodiscard]] virtual std::int64_t own_ns() const noexcept = 0;
  /// The same of all other threads together.
  [[nodiscard]] virtual std::int64_t others_ns() const noexcept = 0;
};

/// Bytes count from here on. `check`, where it is given, compares the ranks' calls before each.
/// `inner`, `watchdog` and `check` outlive the result.
[[nodiscard]] std::unique_ptr<WatchedCollectives> make_watched_collectives(
    Collectives& inner, Watchdog& watchdog, OrderCheck* check = nullptr);

}  // namespace th::runtime
