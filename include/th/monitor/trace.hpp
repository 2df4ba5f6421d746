#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "th/runtime/observe/flight_record.hpp"

namespace th::monitor {

/// A unit as a trace shows it; bytes that its events move, 0 where they are not known.
struct TraceUnit {
  std::string name;
  std::int64_t gathered = 0, reduced = 0, fetched = 0;
};

/// The text of a trace in Chrome's JSON format: a process a rank, a thread a stream, complete
/// events with times in microseconds. Made piece by piece: events follow each other as they are
/// given, those of a stream in the order of their begin.
class TraceWriter {
 public:
  using Sink = std::function<void(std::string_view text)>;
  /// `zero`: the time, in nanoseconds, that is 0 in the trace.
  TraceWriter(Sink sink, const std::vector<TraceUnit>& units, std::int64_t zero);
  /// Events are of this rank from here on.
  void rank(int rank, const std::string& name);
  void event(const runtime::FlightRecord::Event& event);
  /// The end, with what a reader is told beside the events: names and values.
  void finish(const std::vector<std::pair<std::string, std::string>>& notes);

 private:
  using On = runtime::FlightRecord::On;
  void put(const std::string& text);
  /// The next of a list.
  void item(const std::string& text);
  void flush();
  void thread_of(On on);

  Sink sink_;
  std::vector<TraceUnit> units_;  ///< names as JSON strings without their quotes
  std::int64_t zero_;
  int rank_ = 0;
  std::array<bool, runtime::FlightRecord::kStreams> named_{};  ///< threads of this rank
  bool first_ = true;
  std::string pending_;  ///< for the sink
};

}  // namespace th::monitor
