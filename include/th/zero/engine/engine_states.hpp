#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "th/runtime/device/stream.hpp"
#include "th/zero/state_store.hpp"

namespace th::zero {

class GradientReducer;
class ParameterResidency;
struct EngineFrame;
struct NodeMemory;

/// A state and its name in checkpoints.
struct NamedState {
  const char* name;
  State state;
};

/// Reads and writes the states of an engine between steps: initial values, checkpoints and the
/// moving average. All calls are collective unless they say otherwise.
class EngineStates {
 public:
  /// The roles of an engine that its states need. All outlive this object.
  struct Roles {
    const EngineFrame& frame;
    const NodeMemory& node;
    StateStore& store;
    ParameterResidency& parameters;
    GradientReducer& gradients;
  };
  explicit EngineStates(const Roles& roles) : roles_(roles) {}

  /// The states that a checkpoint holds, in its order: the parameters, then the optimizer's. Not
  /// collective.
  [[nodiscard]] std::vector<NamedState> named() const;
  /// Reads this rank's shard of the parameters (the master weights) or of an optimizer state, in
  /// flat shard order, shard_total() elements. Not collective.
  void read(State state, std::span<float> out) const;
  /// Replaces the state from this rank's shard. If the state is whole on every rank, the ranks'
  /// shards are gathered.
  void write(State state, std::span<const float> in);
  /// The same for one unit's slice of the shard, layout().units()[unit].shard elements.
  void read_unit(State state, std::int64_t unit, std::span<float> out) const;
  void write_unit(State state, std::int64_t unit, std::span<const float> in);

  /// Writes initial parameters from (run.seed, tensor name); the average begins with them.
  void initialise();
  /// Exchanges the parameters and their moving average on every rank. Validation and decoding then
  /// use the average, until a second call brings the parameters back with the same bits. Only with
  /// train.ema_decay.
  void swap_average();
  /// Begins the average anew with the present parameters; does nothing without train.ema_decay.
  void start_average();

 private:
  /// This rank's shard of a unit, for the store.
  [[nodiscard]] StateStore::Slice shard(std::int64_t unit) const;
  /// A state of the whole unit, where states are not sharded.
  [[nodiscard]] float* whole(State state, std::int64_t unit) const;
  /// Whether a state has every element in fp32, in the order of the parameters.
  [[nodiscard]] bool is_plain(State state) const;
  /// Makes the working copy of this rank's shard from its master weights; if parameters are whole
  /// on every rank, gathers all shards.
  void share_unit(std::int64_t unit);
  /// Gathers every rank's fp32 shard of a unit, `mine`, into `whole`, through the gradient buffer,
  /// which is free between steps.
  void share_fp32(std::int64_t unit, const float* mine, float* whole);
  /// The same into a whole state of any type.
  void share_state(std::int64_t unit, const float* mine, State state);
  /// What both do: `put(at, from, count)` takes elements of the whole unit from `at` on.
  template <typename Put>
  void share_shards(std::int64_t unit, const float* mine, runtime::Access whole, Put put);

  Roles roles_;
};

}  // namespace th::zero
