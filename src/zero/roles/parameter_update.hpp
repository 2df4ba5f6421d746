#pragma once

#include <cstdint>
#include <memory>

#include "th/zero/optimizer.hpp"
#include "th/zero/state_store.hpp"
#include "th/zero/step.hpp"
#include "zero/roles/gradient_reducer.hpp"
#include "zero/roles/node_memory.hpp"
#include "zero/roles/parameter_residency.hpp"
#include "zero/roles/state_slices.hpp"

namespace th::zero {

/// The optimizer's step on all units, from reduced gradients to the parameters of every rank.
/// Sharded: a rank updates what it keeps. Replicated (stage 0, exact reduction): every rank has the
/// sum of its shard, and updates all of them. Whole tensors: of some tensors one rank, the owner,
/// computes the update.
class ParameterUpdate {
 public:
  struct Parts {
    const EngineFrame& frame;
    const NodeMemory& node;
    StateStore& store;
    ParameterResidency& parameters;
    GradientReducer& gradients;
  };
  [[nodiscard]] static std::unique_ptr<ParameterUpdate> make(const Parts& parts);
  virtual ~ParameterUpdate() = default;
  ParameterUpdate(const ParameterUpdate&) = delete;
  ParameterUpdate& operator=(const ParameterUpdate&) = delete;

  /// The last reduction of a unit is over after `reduced`: gradients that an update on the host
  /// needs begin their way.
  virtual void prepare(std::int64_t unit, const runtime::Event& reduced) = 0;
  /// Enqueues the update of all units; `outcome`: the device's, which says the factor of the
  /// gradients and whether anything is updated, or null.
  void run(const StepRequest& request, double gradient_factor, const runtime::StepOutcome* outcome);
  /// No update follows what was prepared. Waits.
  void skip() { parts_.store.leave_gradients(); }

 protected:
  explicit ParameterUpdate(const Parts& parts)
      : parts_(parts), slices_{parts.frame, parts.parameters, parts.gradients} {}
  /// The numbers of the step, before its first unit; `draws`: the key by which 16-bit states are
  /// rounded.
  virtual void begin(const OptimizerStep& /*step*/, std::uint64_t /*draws*/) {}
  virtual void update(std::int64_t unit, const runtime::UpdateFactors& factors,
                      const runtime::StepOutcome* outcome) = 0;
  /// Takes a slice that was updated into the moving average, where there is one.
  void average(const StateStore::Slice& slice);
  /// Where updates stand in the flight record.
  [[nodiscard]] runtime::FlightRecord::On place() const {
    return parts_.frame.buffers.optimizer_on_host ? runtime::FlightRecord::On::kHost
                                                  : runtime::FlightRecord::On::kCompute;
  }
  /// Makes a call of the transport, on its stream behind compute, that touches the gradients of a
  /// unit at `memory`; compute waits for it.
  template <typename Body>
  void call(const char* name, runtime::FlightRecord::What what, std::int64_t unit,
            const runtime::Access& memory, const Body& body) {
    const EngineFrame& frame = parts_.frame;
    frame.communication.wait(frame.compute.record());
    frame.communication.enqueue(name,
                                [&frame, what, unit, body] {
                                  const runtime::FlightRecord::Scope scope(
                                      frame.flight, frame.communication, what,
                                      runtime::FlightRecord::On::kCommunication, unit);
                                  body();
                                },
                                {memory});
    frame.compute.wait(frame.communication.record());
    frame.communication.run_bodies();
  }

  const Parts parts_;
  const StateSlices slices_;

 private:
  double average_rate_ = 0;  ///< of the step that is taken
};

/// The update of whole tensors (Muon, Adafactor), in a file of its own.
[[nodiscard]] std::unique_ptr<ParameterUpdate> make_whole_tensor_update(
    const ParameterUpdate::Parts& parts);

}  // namespace th::zero
