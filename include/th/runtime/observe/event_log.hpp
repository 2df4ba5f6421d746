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

/// All events of some steps, where the flight record has the last ones alone, and what the ledgers
/// of memory held meanwhile: what a trace is made of. Takes host memory as events come, in blocks
/// below the ledger's smallest, 16 MiB at most; written by several threads without locks.
class EventLog {
 public:
  using Event = FlightRecord::Event;
  static constexpr std::int64_t kBlock = 400, kBlocks = 1000,
                                kMost = kBlock * kBlocks;  ///< events, blocks, events

  EventLog() = default;
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  /// It takes the events whose handles are `first` and above; none before this call.
  void start(std::uint64_t first) noexcept { first_.store(first); }
  void open(std::uint64_t handle, const Event& event) noexcept;
  void begin(std::uint64_t handle, std::int64_t ns) noexcept;
  void end(std::uint64_t handle, std::int64_t ns) noexcept;
  [[nodiscard]] MemorySamples& memory() noexcept { return memory_; }

  // What follows while nobody writes.
  [[nodiscard]] const MemorySamples& memory() const noexcept { return memory_; }
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

  std::atomic<std::uint64_t> first_{std::numeric_limits<std::uint64_t>::max()};
  std::array<std::atomic<Block*>, static_cast<std::size_t>(kBlocks)> blocks_{};
  std::atomic<std::int64_t> opened_{0}, lost_{0};
  MemorySamples memory_;
};

/// Passes of units, and updates.
[[nodiscard]] bool computes(const FlightRecord::Event& event) noexcept;
/// Gathers and reductions.
[[nodiscard]] bool communicates(const FlightRecord::Event& event) noexcept;

/// The times of a kind of events that have ended, one after the other, each from the end of the one
/// before at the earliest, and up to the begin of the next one: of events that enclose others only
/// the time before the first of these is there. Reads the log, which lives longer.
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
  /// Of all up to this one; nanoseconds.
  [[nodiscard]] std::int64_t total() const { return total_; }
  /// What these and the time from `begin` to `end` have in common, nanoseconds. Goes on to the
  /// stretches that reach so far: calls come in the order of their times, and do not overlap.
  [[nodiscard]] std::int64_t common_with(std::int64_t begin, std::int64_t end);

 private:
  void find();

  const EventLog& log_;
  Of of_;
  std::int64_t place_ = 0, begin_ = 0, end_ = 0, total_ = 0;
  const FlightRecord::Event* following_ = nullptr;
  bool there_ = false;
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
