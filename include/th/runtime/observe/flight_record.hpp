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

/// What the last steps did and when: a ring of events, written by several threads without locks,
/// about a tenth of a microsecond each. Below the ledger's smallest block. Times in nanoseconds of
/// the node's monotonic clock, alike for all processes of a node; those of a device come later, by
/// Device::settle().
class FlightRecord {
 public:
  /// Of units: kForward to kFetch. kNorm: of a step's gradients and losses. Up to kBorder, the
  /// others are the host's: kBatch, it waits for one (on a stream of copies: its way to the
  /// device); kResult, it waits for a device's outcome of a step; kBorder, the ranks agree on what
  /// comes after a step. kRead and kWrite are of threads beside it: they make a step's batches
  /// ready, and write a step's checkpoint.
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
    std::int64_t begin = 0, end = 0;  ///< end 0: it still goes on
    std::int32_t slot = kNone;        ///< micro-batch, of kRead the worker; in a log alone
    std::int64_t step = 0;            ///< in a log alone
    [[nodiscard]] bool within(const Event& other) const noexcept {
      return other.begin <= begin && end != 0 && end <= other.end;
    }
  };

  /// An event to come; its handle for begin() and end(). Handles rise.
  [[nodiscard]] std::uint64_t open(What what, On on, std::int64_t unit,
                                   std::int64_t slot = kNone) noexcept;
  void begin(std::uint64_t handle, std::int64_t ns) noexcept;
  void end(std::uint64_t handle, std::int64_t ns) noexcept;

  /// The same of kRead and kWrite, which are of `step`, whichever is under way.
  [[nodiscard]] std::uint64_t open_of_step(What what, On on, std::int64_t step,
                                           std::int64_t worker = kNone) noexcept;

  /// The events that have begun, in the order of their times. Complete while nobody writes; an
  /// event that is written meanwhile may be mixed.
  [[nodiscard]] std::vector<Event> events() const;
  /// One JSON object a line:
  /// {"what":"gather","unit":"encoder.layers.0","on":"communication","begin_ns":…,"end_ns":…},
  /// end_ns null for what still goes on, no unit in what the host does, "step" in its place in what
  /// is read or written.
  [[nodiscard]] std::string text(std::span<const std::string> unit_names) const;

  /// From here on every event is kept in a new log as well, until stop_log(), which frees this
  /// record's hold on it. Other threads may write meanwhile; after stop_log() none writes there.
  [[nodiscard]] std::shared_ptr<const EventLog> start_log();
  void stop_log() noexcept;
  /// From here on the event that began last on each stream stands in `shown` as well; null:
  /// nowhere. It outlives the record's use of it.
  void show_in(Activity* shown) noexcept { shown_.store(shown, std::memory_order_release); }
  /// "compute: backward of encoder.layers.0 for 12.3 s; host: after batch for 12.4 s": what `shown`
  /// tells at the time `now`; empty where nothing has begun.
  [[nodiscard]] static std::string text_of(const Activity& shown,
                                           std::span<const std::string> unit_names,
                                           std::int64_t now);

  /// The step of the events to come, for a log.
  void set_step(std::int64_t step) noexcept { step_.store(step, std::memory_order_relaxed); }

  /// An event as long as what the stream does in the scope: within a task, or around calls that
  /// follow the stream by themselves.
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
  /// The same of the calling thread.
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
  /// A kRead or kWrite of the calling thread; holds the record, null: nothing is noted.
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
  /// The two ends of one that outlasts a scope; restart() moves the first.
  [[nodiscard]] static std::uint64_t begin(const std::shared_ptr<FlightRecord>& record,
                                           Stream& stream, What what, On on, std::int64_t unit,
                                           std::int64_t slot = kNone);
  static void restart(const std::shared_ptr<FlightRecord>& record, Stream& stream,
                      std::uint64_t handle);
  static void end(const std::shared_ptr<FlightRecord>& record, Stream& stream,
                  std::uint64_t handle);

 private:
  /// The log while its holder writes to it, null where there is none: stop_log() waits for that.
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
  /// What the ledgers of memory hold, into the log.
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
