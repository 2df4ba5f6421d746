#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "th/runtime/observe/flight_record.hpp"
#include "th/runtime/observe/memory_samples.hpp"

namespace th::monitor {

/// A unit's name in a trace, and the bytes that its events move; 0: not known.
struct TraceUnit {
  std::string name;
  std::int64_t gathered = 0, reduced = 0, fetched = 0;
};

/// One end of an arrow that joins an event of several ranks.
struct TraceArrow {
  enum class End { kFirst, kBetween, kLast };
  End end = End::kFirst;
  std::int64_t id = 0;  ///< of the event, the same on all ranks
  int rank = 0;
  runtime::FlightRecord::What what = runtime::FlightRecord::What::kGather;
  runtime::FlightRecord::On on = runtime::FlightRecord::On::kCommunication;
  std::int64_t ns = 0;  ///< within the event of this rank
};

/// Writes a trace in Chrome's JSON format. Each rank is a process and each stream a thread; there
/// are complete events with times in microseconds, a counter for each ledger of memory, and flow
/// events. The text is made piece by piece, with events in the order in which they are given; those
/// of a stream come in the order of their begin.
class TraceWriter {
 public:
  using Sink = std::function<void(std::string_view text)>;
  /// `zero`: the time, in nanoseconds, that is 0 in the trace. `states`: the names of the
  /// optimizer's states; they outlive this object.
  TraceWriter(Sink sink, const std::vector<TraceUnit>& units, std::int64_t zero,
              runtime::StateNames states = {});
  /// From here on events and samples belong to this rank.
  void rank(int rank, const std::string& name);
  void event(const runtime::FlightRecord::Event& event);
  /// Adds bytes by class; classes that never had any are left out.
  void memory(const runtime::MemorySamples::Sample& sample);
  /// Adds an arrow's end; the events that it joins must have been written.
  void arrow(const TraceArrow& arrow);
  /// Ends the trace with notes beside the events: names and values.
  void finish(const std::vector<std::pair<std::string, std::string>>& notes);

 private:
  using On = runtime::FlightRecord::On;
  void put(const std::string& text);
  /// The next of a list.
  void item(const std::string& text);
  void flush();
  /// The number of an event's thread, which is named with the first one.
  int thread_of(const runtime::FlightRecord::Event& event);

  Sink sink_;
  std::vector<TraceUnit> units_;  ///< names as JSON strings without their quotes
  std::int64_t zero_;
  runtime::StateNames states_;
  int rank_ = 0;
  std::set<int> named_;  ///< threads of this rank
  /// Classes that this rank's counters have shown, by ledger.
  std::array<std::bitset<runtime::kMemoryClasses>, 2> shown_{};
  bool first_ = true;
  std::string pending_;  ///< for the sink
};

}  // namespace th::monitor
