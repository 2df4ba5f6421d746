#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "th/config/run_config.hpp"
#include "th/model/transformer.hpp"
#include "th/runtime/collectives.hpp"
#include "th/zero/engine_buffers.hpp"
#include "th/zero/flat_layout.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/slot_tree.hpp"

namespace th::zero {

/// What one optimizer step reports, the same on every rank.
struct StepResult {
  double loss_sum = 0;   ///< over all slots, added in slot order
  double grad_norm = 0;  ///< of the mean gradient, before clipping
};

/// Data-parallel training of a flat parameter space with ZeRO 0 to 3: a step is accumulate() once a round of slots, then step().
/// Neither contains a stage number: three policies decide where parameters live, when gradients are reduced, and what is updated.
/// All calls are collective unless they say otherwise. fp32.
class ZeroEngine final : public model::ParameterSource {
 public:
  /// Allocates everything and initialises the parameters from (seed, tensor name).
  ZeroEngine(const config::RunConfig& config, const model::Transformer& model, runtime::Collectives& collectives, std::int64_t slots);
  ~ZeroEngine() override;

  /// Begins a step: no gradients, slot 0 next.
  void begin_step();
  /// One round: this rank's micro-batch, or an idle slot where it is null or empty.
  void accumulate(model::Transformer& model, const data::Batch* batch, std::uint64_t step_key, double gradient_scale, double label_smoothing);
  /// Reduces what is left, clips, updates the parameters. `optimizer_step` counts from 1. With a loss or norm that is not finite nothing is updated.
  StepResult step(double lr, std::int64_t optimizer_step);

  // ParameterSource
  const model::UnitTensors& open_forward(std::int64_t unit) override;
  void close_forward(std::int64_t unit) override;
  model::UnitTensors& open_backward(std::int64_t unit) override;
  void close_backward(std::int64_t unit) override;

  /// A copy of all parameters on every rank, in the layout of one rank: for decoding, where ranks take unlike numbers of steps.
  [[nodiscard]] std::unique_ptr<model::ParameterSource> gather_all(const model::Transformer& model);

  [[nodiscard]] const FlatLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const EngineBuffers& buffers() const noexcept { return buffers_; }
  [[nodiscard]] std::int64_t rounds() const noexcept { return rounds_; }

  /// This rank's shard of parameters or of a moment in flat shard order, shard_total() elements. Not collective.
  enum class State { kParameters, kExpAvg, kExpAvgSq };
  void read_state(State state, std::span<float> out) const;
  /// Replaces the state from this rank's shard; where it is kept whole, the ranks' shards are gathered.
  void write_state(State state, std::span<const float> in);
  /// The same for one unit's slice of the shard, layout().units()[unit].shard elements.
  void read_unit(State state, std::int64_t unit, std::span<float> out) const;
  void write_unit(State state, std::int64_t unit, std::span<const float> in);
  [[nodiscard]] bool has_moments() const noexcept { return config_.optimizer.name != config::OptimizerKind::kSgd; }

 private:
  using Buffer = std::unique_ptr<runtime::TransportBuffer>;
  /// A slice of the flat space that this rank updates.
  struct Slice {
    float* parameters;
    const float* gradients;
    std::int64_t moments;  ///< offset into exp_avg and exp_avg_sq
    std::int64_t count;
  };

  void allocate();
  void initialise(std::uint64_t seed);
  void reduce_unit(std::int64_t unit);
  [[nodiscard]] model::UnitTensors views(std::int64_t unit, float* values, float* gradients) const;
  [[nodiscard]] float* parameter_shard(std::int64_t unit) const;
  [[nodiscard]] float* reduced_gradient(std::int64_t unit) const;
  [[nodiscard]] std::vector<Slice> slices() const;
  [[nodiscard]] double gradient_norm();
  void gather_updated();
  /// Every rank's shard of the parameters to everyone, where they are kept whole.
  void share_parameters();

  config::RunConfig config_;
  runtime::Collectives& collectives_;
  ZeroPolicy policy_;
  FlatLayout layout_;
  std::int64_t slots_, rounds_, rank_, ranks_;
  std::int64_t round_ = 0;
  std::vector<double> slot_losses_;  ///< this rank's, by round
  EngineBuffers buffers_;

  Buffer parameters_;       ///< whole, or this rank's shards
  Buffer gradients_;        ///< whole, or the units in flight
  at::Tensor shard_gradients_, exp_avg_, exp_avg_sq_, gather_;
  std::vector<int> open_;                                      ///< how often a unit is open
  std::vector<model::UnitTensors> tensors_;
  std::unique_ptr<SlotTree> tree_;
};

}  // namespace th::zero
