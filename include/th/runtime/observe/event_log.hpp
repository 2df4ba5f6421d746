#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>

#include "th/runtime/observe/flight_record.hpp"
#include "th/runtime/observe/memory_samples.hpp"

namespace th::runtime {

/// All events of some steps and what the memory ledgers held meanwhile, from which a trace is made.
/// (The flight record has only the last events.) It takes host memory as events come, in blocks
/// below the ledger's smallest, 16 MiB at most. Several threads write without locks.
class EventLog {
 public:
  using Event = FlightRecord::Event;
  static constexpr std::int64_t kBlock = 400, kBlocks = 1000,
                                kMost = kBlock * kBlocks;  ///< events, blocks, events

  EventLog() = default;
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  /// From this call on it takes the events whose handles are at least `first`.
  void start(std::uint64_t first) noexcept { first_.store(first); }
  void open(std::uint64_t handle, const Event& event) noexcept;
  void begin(std::uint64_t handle, std::int64_t ns) noexcept;
  void end(std::uint64_t handle, std::int64_t ns) noexcept;
  [[nodiscard]] MemorySamples& memory() noexcept { return memory_; }

  // The functions below may be called while nobody writes.
  [[nodiscard]] const MemorySamples& memory() const noexcept { return memory_; }
  /// The number of places. They are in the order of the handles, which on one stream is the order
  /// of the times.
  [[nodiscard]] std::int64_t size() const noexcept;
  /// Null: the event has not begun, or was not stored.
  [[nodiscard]] const Event* at(std::int64_t place) const noexcept;
  /// The number of events for which there was no place.
  [[nodiscard]] std::int64_t lost() const noexcept { return lost_.load(); }

 private:
  using Block = std::array<Event, static_cast<std::size_t>(kBlock)>;
  /// Null: no place.
  [[nodiscard]] Event* find(std::uint64_t handle) const noexcept;
  [[nodiscard]] Block* block(std::size_t number) noexcept;

  std::atomic<std::uint64_t> first_{std::numeric_limits<std::uint64_t>::max()};
  std::array<std::atomic<Block*>, static_cast<std::size_t>(kBlocks)> blocks_{};
  std::atomic<std::int64_t> opened_{0}, lost_{0};
  MemorySamples memory_;
};

/// Whether the event is a pass of a unit or an update.
[[nodiscard]] bool computes(const FlightRecord::Event& event) noexcept;
/// Whether the event is a gather or a reduction.
[[nodiscard]] bool communicates(const FlightRecord::Event& event) noexcept;

/// The times of ended events of a kind, one after the other. A stretch begins at the end of the one
/// before at the earliest, and ends at the begin of the next event at the latest. So of an event
/// that encloses others only the time before the first of these counts. The log outlives this
/// object.
class Stretches {
 public:
  using Of = std::function<bool(const FlightRecord::Event& event)>;
  /// Asks `of` about each event once, in the order of the log.
  Stretches(const EventLog& log, Of of);
  /// The next one; false: there is none.
  bool next();
  [[nodiscard]] bool there() const { return there_; }
  [[nodiscard]] std::int64_t begin() const { return begin_; }
  [[nodiscard]] std::int64_t end() const { return end_; }
  /// Nanoseconds of all stretches up to this one.
  [[nodiscard]] std::int64_t total() const { return total_; }
  /// Nanoseconds that the stretches and the time from `begin` to `end` have in common. Advances
  /// through the stretches, so calls must come in the order of their times and must not overlap.
  [[nodiscard]] std::int64_t common_with(std::int64_t begin, std::int64_t end);

 private:
  void find();

  const EventLog& log_;
  Of of_;
  std::int64_t place_ = 0, begin_ = 0, end_ = 0, total_ = 0;
  const FlightRecord::Event* following_ = nullptr;
  bool there_ = false;
};

/// How long a rank computed (passes of units and updates), and how long it gathered and reduced, in
/// nanoseconds.
struct BusyTime {
  std::int64_t compute = 0;
  std::int64_t communication = 0;
  std::int64_t overlapped = 0;  ///< communication within compute
};
/// The busy time by a log's events. Of an event that encloses others only the time before the first
/// of these counts, so that waits between them do not count. (The matrix of tied embeddings is open
/// for a whole pass.)
[[nodiscard]] BusyTime busy_time(const EventLog& log);

}  // namespace th::runtime
