#pragma once

#include <cstdint>
#include <memory>

#include "th/config/run_config.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/runtime/device/device.hpp"
#include "th/runtime/device/stream.hpp"
#include "th/runtime/observe/flight_record.hpp"
#include "th/runtime/transport/collectives.hpp"
#include "th/zero/engine/engine_audit.hpp"
#include "th/zero/engine/engine_states.hpp"
#include "th/zero/engine/engine_units.hpp"
#include "th/zero/engine_buffers.hpp"
#include "th/zero/flat_layout.hpp"
#include "th/zero/step.hpp"

namespace th::zero {

/// Data-parallel training of a flat parameter space with ZeRO 0 to 3: a step is begin_step(),
/// accumulate() once a round of slots, then end_step() and result(). None of them contains a stage
/// number: three policies decide where parameters live, when gradients are reduced, and what is
/// updated. Parameters and activations are of precision.dtype, with fp32 master weights beside
/// 16-bit ones; gradients are made in fp32 and reduced in fp32 or in the working type
/// (precision.reduce_dtype).
///
/// It is made of roles (src/zero/roles, docs/architecture.md). ParameterResidency says where
/// parameters are and when they may be read. GradientReducer holds gradients and sums them. StepEnd
/// makes loss, norm and the factor of the update. ParameterUpdate takes the optimizer's step on a
/// StateStore. Which kind of each a run has is decided once, when the engine is made.
///
/// All calls are collective unless they say otherwise.
class ZeroEngine final {
 public:
  /// Allocates everything and initialises the parameters from (seed, tensor name). `device` is that
  /// of the buffers of `collectives`, null: the host; both outlive the engine. If comm.overlap is
  /// on, communication has a stream of its own (auto counts as off); otherwise it is part of
  /// compute.
  ZeroEngine(const config::RunConfig& config, const model::Transformer& model,
             runtime::Collectives& collectives, std::int64_t slots,
             runtime::Device* device = nullptr);
  ~ZeroEngine();
  ZeroEngine(const ZeroEngine&) = delete;
  ZeroEngine& operator=(const ZeroEngine&) = delete;

  /// Begins a step: no gradients, slot 0 next.
  void begin_step();
  /// Computes one round: this rank's micro-batch, or an idle pass if it is null or empty.
  void accumulate(model::Transformer& model, const data::Batch* batch, std::uint64_t step_key,
                  double gradient_scale, double label_smoothing);
  /// Reduces what is left, clips, updates the parameters. With a loss or norm that is not finite
  /// nothing is updated.
  StepResult step(const StepRequest& request);
  /// step() in two halves: end_step() enqueues the end of a step, and result() waits for the
  /// earliest step whose result nobody took. If runs_ahead(), the next step may be enqueued before
  /// result(): the host waits for nothing, and the device clips and decides what is not finite. At
  /// most two results wait.
  void end_step(const StepRequest& request);
  [[nodiscard]] StepResult result();
  /// Whether the device makes the step's end without the host: it has memory of its own, and the
  /// optimizer's states are there. Not collective.
  [[nodiscard]] bool runs_ahead() const noexcept;
  /// Waits for everything that was enqueued; then the flight record has its times. Not collective.
  void settle();

  /// The units for a forward pass or for decoding.
  [[nodiscard]] EngineUnits& units() noexcept { return *units_; }
  /// The states for checkpoints and the moving average.
  [[nodiscard]] EngineStates& states() noexcept { return *states_; }
  [[nodiscard]] const EngineStates& states() const noexcept { return *states_; }
  /// The hashes that audits compare.
  [[nodiscard]] EngineAudit& audit() noexcept { return *audit_; }

  // Not collective.
  [[nodiscard]] const FlatLayout& layout() const noexcept;
  [[nodiscard]] const EngineBuffers& buffers() const noexcept;
  [[nodiscard]] std::int64_t rounds() const noexcept;
  [[nodiscard]] std::int64_t slots() const noexcept;
  /// Which rank computes which slot, in which round.
  [[nodiscard]] const SlotDealing& dealing() const noexcept;
  /// The stream of the collectives.
  [[nodiscard]] const runtime::Stream& communication() const noexcept;
  /// The events of the last steps, with their times.
  [[nodiscard]] const std::shared_ptr<runtime::FlightRecord>& flight_record() const noexcept;

 private:
  /// The roles, in the order in which they are made; they refer to each other.
  struct Roles;

  std::unique_ptr<Roles> roles_;
  std::unique_ptr<EngineUnits> units_;
  std::unique_ptr<EngineStates> states_;
  std::unique_ptr<EngineAudit> audit_;
};

}  // namespace th::zero
