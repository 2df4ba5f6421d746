#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "th/runtime/device/stream.hpp"
#include "th/zero/engine_buffers.hpp"

namespace th::zero {

/// The gathered copies of sharded units (stage 3). Most units take equal places in turn and are
/// gathered ahead of their use, in the order in which a round opens them. Units that stay open, and
/// persistent ones, which are gathered once after each update, have places of their own. Parameters
/// are not gathered past an update.
///
/// Gathers run on the communication stream, in the same order on every rank. A place is written
/// when compute is done with the unit that was there.
class GatherPool {
 public:
  /// Enqueues on the communication stream the gather of all shards of a unit into `to`. Collective.
  using Gather = std::function<void(std::int64_t unit, std::byte* to)>;
  /// The memory of a unit's elements while it has a place.
  using Memory = std::function<std::byte*(std::int64_t unit, std::size_t place)>;
  /// All arguments outlive the pool.
  GatherPool(const EngineBuffers& buffers, const FlatLayout& layout, Memory memory,
             runtime::Stream& compute, runtime::Stream& communication, Gather gather);

  /// Says that so many rounds of openings follow, each in the order of `opens`, which must live on.
  /// Units may then be gathered ahead.
  void begin(std::span<const std::int64_t> opens, std::int64_t rounds);
  /// All elements of a unit, for compute until close(). Outside of the rounds units are gathered
  /// when they are opened. Collective.
  [[nodiscard]] std::byte* open(std::int64_t unit);
  /// Enqueues the gathers of the openings to come, as many as have places. Collective.
  void gather_ahead();
  void close(std::int64_t unit);
  /// Compute has read this rank's shard of a unit, outside of open() and close().
  void was_read(std::int64_t unit);
  /// Marks every gathered copy stale, because the parameters have changed.
  void updated();

 private:
  /// What a place holds: nothing current, a gathered unit, or one that compute reads. A persistent
  /// unit stays gathered when it is closed, until the next update.
  enum class PlaceState { kFree, kGathered, kOpen };
  struct Place {
    runtime::Event gathered;  ///< of communication
    PlaceState state = PlaceState::kFree;
    // The transitions. Each checks the state that it leaves.
    void gather(const runtime::Event& event);
    void open();
    void close(bool stays);
    void update();
  };
  /// Enqueues the gather of a unit into its next place, and returns that; nothing while the place
  /// is in use.
  [[nodiscard]] std::optional<std::size_t> gather(std::int64_t unit);
  /// Compute's last use of the memory that a unit has in a place.
  [[nodiscard]] runtime::Event& released(std::int64_t unit, std::size_t place);
  [[nodiscard]] runtime::Access read_of(std::int64_t unit, std::size_t place) const;

  const EngineBuffers& buffers_;
  const FlatLayout& layout_;
  std::span<const std::int64_t> opens_;
  Memory memory_;
  std::int64_t element_bytes_;
  runtime::Stream& compute_;
  runtime::Stream& communication_;
  Gather gather_;
  std::vector<Place> places_;             ///< those that are taken in turn, then one a unit
  std::vector<runtime::Event> released_;  ///< by place; by unit where units lie still
  std::vector<std::size_t> used_;         ///< by unit: the place that it is open in
  std::vector<bool> in_use_;  ///< by unit: gathered, not closed since; where units lie still they
                              ///< are not gathered again meanwhile
  std::int64_t turn_ = 0;
  std::int64_t opened_ = 0, scheduled_ = 0;  ///< openings since begin(), and how many it told
  std::deque<std::size_t>
      ahead_;  ///< places of the openings to come that are gathered or under way
};

}  // namespace th::zero
