#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "th/runtime/observe/flight_record.hpp"

namespace th::runtime {

/// All events of some steps, where the flight record has the last ones alone: what a trace is made
/// of. Takes host memory as events come, in blocks below the ledger's smallest, 16 MiB at most;
/// written by several threads without locks.
class EventLog {
 public:
  using Event = FlightRecord::Event;
  static constexpr std::int64_t kBlock = 400, kBlocks = 1000,
                                kMost = kBlock * kBlocks;  ///< events, blocks, events

  /// Of the events whose handles are `first` and above.
  explicit EventLog(std::uint64_t first) : first_(first) {}
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  void open(std::uint64_t handle, const Event& event) noexcept;
  void begin(std::uint64_t handle, std::int64_t ns) noexcept;
  void end(std::uint64_t handle, std::int64_t ns) noexcept;

  // What follows while nobody writes.
  /// Places, in the order of the handles: on one stream that of the times.
  [[nodiscard]] std::int64_t size() const noexcept;
  /// Null: it has not begun, or was not kept.
  [[nodiscard]] const Event* at(std::int64_t place) const noexcept;
  /// Events for which there was no place.
  [[nodiscard]] std::int64_t lost() const noexcept { return lost_.load(); }

 private:
  using Block = std::array<Event, static_cast<std::size_t>(kBlock)>;
  /// Null: no place.
  [[nodiscard]] Event* find(std::uint64_t handle) const noexcept;
  [[nodiscard]] Block* block(std::size_t number) noexcept;

  std::uint64_t first_;
  std::array<std::atomic<Block*>, static_cast<std::size_t>(kBlocks)> blocks_{};
  std::atomic<std::int64_t> opened_{0}, lost_{0};
};

/// How long a rank computed (passes of units and updates), and how long it gathered and reduced;
/// nanoseconds.
struct BusyTime {
  std::int64_t compute = 0;
  std::int64_t communication = 0;
  std::int64_t overlapped = 0;  ///< of communication, the time within compute
};
/// By the times of a log's events. Of events that enclose others (the one matrix of tied embeddings
/// is open for a whole pass) only the time before the first of these counts, so that waits between
/// them do not.
[[nodiscard]] BusyTime busy_time(const EventLog& log);

}  // namespace th::runtime
