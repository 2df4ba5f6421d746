#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "th/io/checkpoint/output.hpp"
#include "th/monitor/trace.hpp"
#include "th/runtime/observe/event_log.hpp"
#include "th/runtime/transport/clock_offset.hpp"
#include "th/runtime/transport/control_calls.hpp"
#include "th/train/watch/time_use.hpp"

namespace th::train {

class LogUse;

/// A rank's part of a trace; times on rank 0's clock.
struct TracePart {
  std::int64_t begin = 0, events = 0, lost = 0, samples = 0;
  std::int64_t collectives = 0;  ///< events in which all ranks come together
  runtime::BusyTime busy;
  runtime::ClockOffset clock;
};

/// Makes trace.json: rank 0 writes, and the others send it what their logs hold, a few KiB at a
/// time. All calls are collective over the ranks of `parts`, which are all ranks or this one. If
/// something can't be written, writing ends but the calls go on, and failure() says why.
class TraceFile {
 public:
  /// The log of this rank, to which nobody writes any more, and its clock. Both outlive the object.
  struct Source {
    const runtime::EventLog& log;
    runtime::ClockOffset clock;
  };
  TraceFile(std::string path, runtime::ControlCalls& control, Source source,
            std::vector<TracePart> parts);
  [[nodiscard]] static TracePart part_of(const Source& source);

  void begin(const std::vector<monitor::TraceUnit>& units, runtime::StateNames states);
  /// Writes events and memory of all ranks under these names.
  void write_ranks(const std::vector<std::string>& names);
  /// Writes the arrows that join each collective's ranks, in the order in which they came to it.
  /// Returns where the time of the steps went on each rank, and for whom they waited.
  [[nodiscard]] TimeUse join_ranks();
  /// Ends the trace with notes beside the events: names and values.
  void finish(const std::vector<std::pair<std::string, std::string>>& notes);
  /// Why rank 0 could not write; empty: it wrote everything.
  [[nodiscard]] const std::string& failure() const { return failure_; }
  /// The number of collectives that have arrows.
  [[nodiscard]] std::int64_t joined() const { return joined_; }

 private:
  void attempt(const std::function<void()>& body);
  /// Sends `count` pieces of `rank`'s log. `pack` makes each from the index of its first entry, and
  /// `take` receives it.
  void send(std::size_t rank, std::int64_t count,
            const std::function<std::string(std::int64_t)>& pack,
            const std::function<void(const std::string&)>& take);
  /// Joins the next `count` collectives of all ranks, and adds how long this rank waited for each
  /// of the others. False: they are not the same on all ranks, so nothing after them is known.
  [[nodiscard]] bool join(LogUse& mine, std::int64_t count, std::vector<double>& waited_for);
  /// `begins`: when each rank came to the event.
  void write_arrows(const runtime::FlightRecord::Event& mine,
                    const std::vector<std::int64_t>& begins);

  std::string path_;
  runtime::ControlCalls& control_;
  Source source_;
  std::vector<TracePart> parts_;
  std::optional<io::OutputFile> file_;
  std::optional<monitor::TraceWriter> writer_;
  std::string failure_;
  std::int64_t joined_ = 0;
};

}  // namespace th::train
