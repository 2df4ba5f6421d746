#pragma once

#include <cstdint>
#include <vector>

#include "th/model/blocks/transformer.hpp"
#include "th/zero/slot_audit.hpp"

namespace th::zero {

class EngineUnits;
class GradientReducer;
class ParameterResidency;
class StateStore;
class StepEnd;
class StepProgress;
struct EngineFrame;

/// Makes the hashes by which an engine answers audits (run.audit_steps): of one slot of a step, of
/// a second computation of it, and of the copies of the parameters.
class EngineAudit {
 public:
  /// The roles of an engine that audits need; `slot` is null if the deck asks for no audits. All
  /// outlive this object.
  struct Roles {
    const EngineFrame& frame;
    const StepProgress& progress;
    EngineUnits& units;
    StepEnd& end;
    StateStore& store;
    ParameterResidency& parameters;
    GradientReducer& gradients;
    SlotAudit* slot = nullptr;
  };
  explicit EngineAudit(const Roles& roles) : roles_(roles) {}

  /// Makes the step that has begun audit this slot: its gradients in its round, and the slices that
  /// arrive, are hashed. Call it between begin_step() and the first round. Collective, as the
  /// functions below unless they say otherwise.
  void begin(std::int64_t slot);
  /// Computes the audited slot once more, as ZeroEngine::accumulate() does, on the one rank that
  /// has its micro-batch; the others take an idle pass. Its loss and gradients are only hashed, and
  /// that rank gets the hashes; others get none. Call it before the first round, or after the last
  /// one of a step that does not end, whose gradients are then lost.
  [[nodiscard]] SlotHashes compute_again(model::Transformer& model, const data::Batch* batch,
                                         std::uint64_t step_key, double gradient_scale,
                                         double label_smoothing);
  /// What the rounds found; call it after the last one. Waits for everything that was enqueued. Not
  /// collective.
  [[nodiscard]] AuditedSlot found();
  /// Hashes of this rank's copy of the parameters, one for each unit; at stage 0 of the master
  /// weights too. There are none if there is no other copy, if another rank of the node answers for
  /// a copy that they share, and at stage 3. Not collective.
  [[nodiscard]] std::vector<std::uint64_t> parameter_hashes();
  /// A testing aid: flips a bit of this rank's copy of the parameters. Not collective.
  void spoil_parameters();

 private:
  Roles roles_;
};

}  // namespace th::zero
