#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "th/zero/state_store.hpp"
#include "zero/roles/engine_frame.hpp"
#include "zero/roles/node_memory.hpp"

namespace th::zero {

/// Where parameters of the working type lie, and when compute may read them. Resident: every rank
/// holds all of them. Gathered (stage 3): every rank holds its shards, and a unit is gathered while
/// it is open. Calls that gather are collective.
class ParameterResidency {
 public:
  /// `shared`: parameters that the ranks of a node have once, or null. All outlive the result.
  /// Collective.
  [[nodiscard]] static std::unique_ptr<ParameterResidency> make(const EngineFrame& frame,
                                                                const StateStore& store,
                                                                NodeMemory::Buffer shared);
  virtual ~ParameterResidency() = default;
  ParameterResidency(const ParameterResidency&) = delete;
  ParameterResidency& operator=(const ParameterResidency&) = delete;

  /// So many rounds of openings follow, each in the order of `opens`, which stays.
  virtual void begin(std::span<const std::int64_t> opens, std::int64_t rounds) = 0;
  /// Makes a unit's values readable for compute until release(); openings may nest. Where the
  /// values lie, or null where the unit is open already.
  [[nodiscard]] std::byte* acquire(std::int64_t unit);
  void release(std::int64_t unit);
  /// Enqueues the gathers of openings to come, as many as there is memory for.
  virtual void gather_ahead() = 0;

  /// What this rank updates of a unit is there after `event`, and so is the rest of the unit.
  void updated(std::int64_t unit, const runtime::Event& event);
  /// What other ranks have updated of a unit is there after `event`.
  void completed(std::int64_t unit, const runtime::Event& event);
  /// Enqueues the gather of what every rank has updated of a unit, where units are resident.
  virtual void publish(std::int64_t unit) = 0;
  /// The same behind what compute holds; waits.
  virtual void publish_now(std::int64_t unit) = 0;
  /// All units were updated: no gathered copy is current.
  virtual void end_update() = 0;
  /// The parameters are those that compute has written so far, and no gathered copy is current.
  void replaced();

  /// This rank's shard of a unit on the device; null where the store has it on the host.
  [[nodiscard]] std::byte* shard(std::int64_t unit) const;
  /// The unit where the ranks' shards lie side by side: of resident units.
  [[nodiscard]] std::byte* whole(std::int64_t unit) const;
  /// Whether whole() names the same memory on all ranks of a node.
  [[nodiscard]] bool one_a_node() const { return parameters_->one_a_node(); }
  /// Compute waits for the unit's last update.
  void wait_for(std::int64_t unit) const { frame_.compute.wait(completed_[index(unit)]); }
  /// Compute has read this rank's shard of a unit that is not open.
  virtual void shard_was_read(std::int64_t unit) = 0;
  /// All values of a unit for the host or a copy behind compute, in its own place or in `scratch`.
  /// Ends with forget().
  [[nodiscard]] virtual const std::byte* read_whole(std::int64_t unit, GatherBuffer& scratch) = 0;
  /// Elements that read_whole() needs of its scratch buffer.
  [[nodiscard]] virtual std::int64_t scratch_elements() const = 0;
  /// This rank does not read the other ranks' shards of a unit for now.
  virtual void forget(std::int64_t unit) = 0;

 protected:
  /// A unit's shards as the transport gathers them.
  struct Shards {
    runtime::TransportBuffer* buffer = nullptr;
    std::int64_t offset = 0, stride = 0;  ///< elements
    const std::byte* mine = nullptr;
  };
  ParameterResidency(const EngineFrame& frame, NodeMemory::Buffer parameters, bool side_by_side);

  virtual std::byte* open(std::int64_t unit) = 0;
  virtual void close(std::int64_t unit) = 0;
  /// Enqueues the gather of a unit's shards into `to`, behind this rank's update of them; `within`:
  /// the shared buffer in which `to` lies, where that is not the parameters' own. Collective.
  virtual void gather(std::int64_t unit, std::byte* to, runtime::TransportBuffer* within = nullptr);
  void gather_from(const Shards& shards, std::int64_t unit, std::byte* to,
                   runtime::TransportBuffer* within);
  /// The same behind what compute holds; waits.
  void gather_now(std::int64_t unit, std::byte* to, runtime::TransportBuffer* within = nullptr);
  [[nodiscard]] const runtime::Event& updated_at(std::int64_t unit) const {
    return updated_[index(unit)];
  }
  [[nodiscard]] runtime::TransportBuffer& parameters() const { return *parameters_; }

  const EngineFrame& frame_;

 private:
  NodeMemory::Buffer parameters_;          ///< null where the store has the shards
  bool side_by_side_;                      ///< whole units lie there, not this rank's shards alone
  std::vector<int> open_;                  ///< by unit: how often it is open
  std::vector<runtime::Event> updated_;    ///< by unit: this rank's last update of its part
  std::vector<runtime::Event> completed_;  ///< by unit: the last update of all of it
};

}  // namespace th::zero
