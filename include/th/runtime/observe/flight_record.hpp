#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "th/runtime/device/stream.hpp"
#include "th/runtime/observe/activity.hpp"

namespace th::runtime {

class EventLog;

/// What the last steps did and when: a ring of events. Several threads write it without locks, in
/// about a tenth of a microsecond for each event. It is smaller than the ledger's smallest block.
/// Times are in nanoseconds of the node's monotonic clock, which all processes of the node share;
/// those of a device come later, by Device::settle().
class FlightRecord {
 public:
  /// kForward to kFetch belong to a unit. kNorm is that of a step's gradients and losses. The
  /// others up to kBorder are the host's: in kBatch it waits for a batch (on a stream of copies:
  /// the batch's copy to the device), in kResult for a device's outcome of a step, and in kBorder
  /// the ranks agree on what comes after a step. kRead and kWrite are those of other threads: they
  /// make a step's batches, and write a step's checkpoint.
  enum class What : std::uint8_t {
    kForward,
    kBackward,
    kGather,
    kReduce,
    kUpdate,
    kFetch,
    kNorm,
    kBatch,
    kSlot,
    kOptimizer,
    kResult,
    kStep,
    kValidation,
    kCheckpoint,
    kBorder,
    kRead,
    kWrite
  };
  enum class On : std::uint8_t {
    kCompute,
    kCommunication,
    kCopies,
    kBatchCopies,
    kHost,
    kSaves,
    kReading
  };
  static constexpr std::size_t kEvents = 400;
  static constexpr std::size_t kStreams = 7;
  static constexpr std::int64_t kNone = -1;
  [[nodiscard]] static const char* name(What what) noexcept;
  [[nodiscard]] static const char* name(On on) noexcept;

  struct Event {
    What what = What::kForward;
    On on = On::kCompute;
    std::int32_t unit = kNone;
    std::int64_t begin = 0, end = 0;  ///< end 0: not ended yet
    std::int32_t slot = kNone;        ///< micro-batch, for kRead the worker; only in a log
    std::int64_t step = 0;            ///< only in a log
    [[nodiscard]] bool within(const Event& other) const noexcept {
      return other.begin <= begin && end != 0 && end <= other.end;
    }
  };

  /// Announces an event and returns its handle for begin() and end(). Handles rise.
  [[nodiscard]] std::uint64_t open(What what, On on, std::int64_t unit,
                                   std::int64_t slot = kNone) noexcept;
  void begin(std::uint64_t handle, std::int64_t ns) noexcept;
  void end(std::uint64_t handle, std::int64_t ns) noexcept;

  /// The same for kRead and kWrite, which belong to `step`, whichever step is under way.
  [[nodiscard]] std::uint64_t open_of_step(What what, On on, std::int64_t step,
                                           std::int64_t worker = kNone) noexcept;

  /// The events that have begun, in the order of their times. They are exact while nobody writes;
  /// an event that is written meanwhile may be mixed up.
  [[nodiscard]] std::vector<Event> events() const;
  /// One JSON object a line:
  /// {"what":"gather","unit":"encoder.layers.0","on":"communication","begin_ns":…,"end_ns":…},
  /// end_ns is null for an event that has not ended. Events of the host have no unit, and kRead and
  /// kWrite have "step" in its place.
  [[nodiscard]] std::string text(std::span<const std::string> unit_names) const;

  /// From here on every event also goes into a new log, until stop_log(), which lets go of the log.
  /// Other threads may write meanwhile; after stop_log() none writes there.
  [[nodiscard]] std::shared_ptr<const EventLog> start_log();
  void stop_log() noexcept;
  /// From here on `shown` holds the event that began last on each stream; null: nothing is shown.
  /// It must live as long as the record uses it.
  void show_in(Activity* shown) noexcept { shown_.store(shown, std::memory_order_release); }
  /// "compute: backward of encoder.layers.0 for 12.3 s; host: after batch for 12.4 s": what `shown`
  /// says at the time `now`; empty if nothing has begun.
  [[nodiscard]] static std::string text_of(const Activity& shown,
                                           std::span<const std::string> unit_names,
                                           std::int64_t now);

  /// Sets the step of later events, for a log.
  void set_step(std::int64_t step) noexcept { step_.store(step, std::memory_order_relaxed); }

  /// An event that lasts as long as the stream's work in the scope. Use it within a task, or around
  /// calls that follow the stream without tasks.
  class Scope {
   public:
    Scope(const std::shared_ptr<FlightRecord>& record, Stream& stream, What what, On on,
          std::int64_t unit, std::int64_t slot = kNone);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    std::shared_ptr<FlightRecord> record_;
    Stream& stream_;
    std::uint64_t handle_;
  };
  /// The same for the calling thread.
  class HostScope {
   public:
    HostScope(FlightRecord& record, What what, std::int64_t slot = kNone) noexcept;
    ~HostScope();
    HostScope(const HostScope&) = delete;
    HostScope& operator=(const HostScope&) = delete;

   private:
    FlightRecord& record_;
    std::uint64_t handle_;
  };
  /// A kRead or kWrite of the calling thread. It holds the record; with null nothing is recorded.
  class StepScope {
   public:
    StepScope(std::shared_ptr<FlightRecord> record, What what, On on, std::int64_t step,
              std::int64_t worker = kNone) noexcept;
    ~StepScope();
    StepScope(const StepScope&) = delete;
    StepScope& operator=(const StepScope&) = delete;

   private:
    std::shared_ptr<FlightRecord> record_;
    std::uint64_t handle_ = 0;
  };
  /// Begin and end of an event that outlasts a scope; restart() moves its begin.
  [[nodiscard]] static std::uint64_t begin(const std::shared_ptr<FlightRecord>& record,
                                           Stream& stream, What what, On on, std::int64_t unit,
                                           std::int64_t slot = kNone);
  static void restart(const std::shared_ptr<FlightRecord>& record, Stream& stream,
                      std::uint64_t handle);
  static void end(const std::shared_ptr<FlightRecord>& record, Stream& stream,
                  std::uint64_t handle);

 private:
  /// Holds the log while its owner writes to it (null: there is none); stop_log() waits for that.
  class HeldLog {
   public:
    explicit HeldLog(FlightRecord& record) noexcept;
    ~HeldLog();
    HeldLog(const HeldLog&) = delete;
    HeldLog& operator=(const HeldLog&) = delete;
    explicit operator bool() const noexcept { return log_ != nullptr; }
    EventLog* operator->() const noexcept { return log_; }

   private:
    FlightRecord& record_;
    EventLog* log_ = nullptr;
  };
  std::uint64_t open(const Event& event) noexcept;
  /// Writes what the memory ledgers hold into the log.
  void sample_memory() noexcept;

  /// Whether the event still has its cell: it may have outlasted the ring.
  [[nodiscard]] bool is_there(std::uint64_t handle) const noexcept {
    return next_.load(std::memory_order_relaxed) - handle <= kEvents;
  }

  struct Cell {
    std::atomic<std::int64_t> begin{0}, end{0};
    std::atomic<std::int32_t> unit{kNone};  ///< of kRead and kWrite the step
    std::atomic<What> what{What::kForward};
    std::atomic<On> on{On::kCompute};
  };
  void show(const Cell& cell, std::int64_t ns, bool ended) noexcept;

  std::array<Cell, kEvents> cells_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<std::int64_t> step_{0};
  std::atomic<Activity*> shown_{nullptr};
  std::shared_ptr<EventLog> kept_;
  std::atomic<EventLog*> log_{nullptr};   ///< kept_, for the threads that write
  std::atomic<std::int64_t> writers_{0};  ///< that hold it
};

}  // namespace th::runtime
