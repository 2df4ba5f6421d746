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

/// An engine answers audits (run.audit_steps) with hashes: of one slot of a step, of a second
/// computation of it, and of the copies of the parameters.
class EngineAudit {
 public:
  /// The roles of an engine that audits need; `slot` null: the deck asks for none. All outlive it.
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

  /// The step that has begun audits this slot: what is computed of it in its round and what arrives
  /// of it is hashed. Between begin_step() and the first round. Collective, as what follows unless
  /// it says otherwise.
  void begin(std::int64_t slot);
  /// Computes the audited slot once more, as ZeroEngine::accumulate() does, on the one rank that
  /// has its micro-batch; the others go along. Nothing becomes of its loss and gradients but
  /// hashes, which the rank gets, elsewhere none. Before the first round; or behind the last one of
  /// a step that does not end, whose gradients are lost then.
  [[nodiscard]] SlotHashes compute_again(model::Transformer& model, const data::Batch* batch,
                                         std::uint64_t step_key, double gradient_scale,
                                         double label_smoothing);
  /// What the rounds found, behind the last one. Waits for all that was enqueued. Not collective.
  [[nodiscard]] AuditedSlot found();
  /// Hashes of this rank's copy of the parameters, one a unit; at stage 0 of the master weights
  /// too. None where there is no other copy, where another rank of the node answers for one that
  /// they share, and at stage 3. Not collective.
  [[nodiscard]] std::vector<std::uint64_t> parameter_hashes();
  /// A testing aid: a bit of this rank's copy of the parameters flips. Not collective.
  void spoil_parameters();

 private:
  Roles roles_;
};

}  // namespace th::zero
