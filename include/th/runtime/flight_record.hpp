#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace th::runtime {

/// What the last steps did and when: a ring of events, written by several threads without locks, about a tenth of a microsecond each. Below the
/// ledger's smallest block. Times in nanoseconds of the node's monotonic clock, alike for all processes of a node.
class FlightRecord {
 public:
  enum class What : std::uint8_t { kForward, kBackward, kGather, kReduce, kUpdate };
  enum class On : std::uint8_t { kCompute, kCommunication };
  static constexpr std::size_t kEvents = 400;

  struct Event {
    What what = What::kForward;
    On on = On::kCompute;
    std::int32_t unit = 0;
    std::int64_t begin = 0, end = 0;  ///< end 0: it still goes on
    [[nodiscard]] bool within(const Event& other) const noexcept { return other.begin <= begin && end != 0 && end <= other.end; }
  };

  /// An event that begins now; its handle for end().
  [[nodiscard]] std::uint64_t begin(What what, On on, std::int64_t unit) noexcept;
  void end(std::uint64_t handle) noexcept;

  /// The events that are there, in the order in which they began. Complete while nobody writes; an event that is written meanwhile may be
  /// mixed.
  [[nodiscard]] std::vector<Event> events() const;
  /// One JSON object a line: {"what":"gather","unit":"encoder.layers.0","on":"communication","begin_ns":…,"end_ns":…}, end_ns null for what
  /// still goes on.
  [[nodiscard]] std::string text(std::span<const std::string> unit_names) const;

  /// An event as long as the scope.
  class Scope {
   public:
    Scope(FlightRecord& record, What what, On on, std::int64_t unit) noexcept : record_(record), handle_(record.begin(what, on, unit)) {}
    ~Scope() { record_.end(handle_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    FlightRecord& record_;
    std::uint64_t handle_;
  };

 private:
  struct Cell {
    std::atomic<std::int64_t> begin{0}, end{0};
    std::atomic<std::int32_t> unit{0};
    std::atomic<What> what{What::kForward};
    std::atomic<On> on{On::kCompute};
  };
  std::array<Cell, kEvents> cells_;
  std::atomic<std::uint64_t> next_{0};
};

}  // namespace th::runtime
