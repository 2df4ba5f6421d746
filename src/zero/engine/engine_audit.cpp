#include "th/zero/engine/engine_audit.hpp"

#include "th/base/bit_flip.hpp"
#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/zero/engine/engine_units.hpp"
#include "zero/engine/spoil.hpp"
#include "zero/engine/step_progress.hpp"
#include "zero/roles/gradient_reducer.hpp"
#include "zero/roles/parameter_residency.hpp"
#include "zero/roles/state_slices.hpp"
#include "zero/roles/step_end.hpp"

#include <bit>
#include <span>

namespace th::zero {

void EngineAudit::begin(std::int64_t slot) {
  ensure(roles_.slot != nullptr, "ZeroEngine: an audit that the deck does not ask for");
  ensure(roles_.progress.begun() && slot >= 0 && slot < roles_.frame.slots,
         "ZeroEngine: an audit of no slot of the step");
  ensure(!roles_.gradients.adds_over_rounds(),
         "ZeroEngine: an audit of a slot whose gradient is never by itself");
  roles_.slot->begin(slot);
}

SlotHashes EngineAudit::compute_again(model::Transformer& model, const data::Batch* batch,
                                      std::uint64_t step_key, double gradient_scale,
                                      double label_smoothing) {
  const EngineFrame& frame = roles_.frame;
  SlotAudit* audit = roles_.slot;
  ensure(audit != nullptr && audit->on(), "ZeroEngine: no slot is audited");
  const bool before = roles_.progress.begun();
  ensure(before || roles_.progress.accumulated(), "ZeroEngine: an audit between two rounds");
  if (!before) {
    frame.settle();
    roles_.store.leave_gradients();
  }
  roles_.units.begin_slots(before ? frame.rounds + 1 : 1);
  const bool mine = batch != nullptr;
  audit->enter(mine ? SlotAudit::Pass::kAgain : SlotAudit::Pass::kAgainElsewhere);
  const BitFlip::Computing flips(mine && batch->sentences > 0);
  const auto slot = static_cast<std::uint64_t>(audit->slot());
  double* losses = roles_.end.losses();  // the place of a round that has not begun
  frame.compute.clear(losses, kDouble);
  roles_.units.run_slot(model, batch, {roles_.progress.round(), audit->slot()},
                        {hash_pair(step_key, slot), gradient_scale, label_smoothing}, losses);
  SlotHashes made;
  if (mine) {
    double loss = 0;
    runtime::copy_now(frame.device, &loss, losses, kDouble);
    made = audit->made();
    made.loss = std::bit_cast<std::uint64_t>(loss);
    if (BitFlip::here(BitFlip::Place::kMessage))
      BitFlip::flip(std::as_writable_bytes(std::span(made.gradients)));
  }
  frame.compute.clear(losses, kDouble);
  audit->enter(SlotAudit::Pass::kOther);
  frame.device.settle();
  return made;
}

AuditedSlot EngineAudit::found() {
  const EngineFrame& frame = roles_.frame;
  SlotAudit* audit = roles_.slot;
  ensure(audit != nullptr && audit->on() && roles_.progress.accumulated(),
         "ZeroEngine: an audit before its last round");
  frame.settle();
  AuditedSlot out;
  out.arrived = audit->arrived();
  if (audit->slot() % frame.ranks != frame.rank) return out;
  double loss = 0;
  runtime::copy_now(frame.device, &loss, roles_.end.losses() + audit->slot() / frame.ranks,
                    kDouble);
  out.computed = audit->made();
  out.computed.loss = std::bit_cast<std::uint64_t>(loss);
  return out;
}

std::vector<std::uint64_t> EngineAudit::parameter_hashes() {
  const EngineFrame& frame = roles_.frame;
  ensure(roles_.slot != nullptr, "ZeroEngine: an audit that the deck does not ask for");
  if (frame.policy.shard_parameters) return {};
  const runtime::NodeMap nodes = frame.collectives.nodes();
  const bool shared = roles_.parameters.one_a_node();
  const std::int64_t copies = shared ? nodes.nodes() : frame.ranks;
  if (copies == 1 || (shared && nodes.place_of(static_cast<int>(frame.rank)) > 0)) return {};
  const StateSlices slices{frame, roles_.parameters, roles_.gradients};
  const bool masters = frame.buffers.types.masters() && !frame.policy.shard_optimizer;
  std::vector<std::uint64_t> out;
  for (std::int64_t u = 0; u < frame.units(); ++u) {
    const std::int64_t content = frame.unit(u).content;
    roles_.parameters.wait_for(u);
    out.push_back(roles_.slot->hash(roles_.parameters.whole(u),
                                    content * element_size(frame.buffers.types.working)));
    if (!masters) continue;
    const float* weights = roles_.store.at(State::kParameters, slices.kept(u));
    out.back() = hash_pair(out.back(), roles_.slot->hash(weights, content * kFloat));
  }
  return out;
}

void EngineAudit::spoil_parameters() {
  zero::spoil_parameters(roles_.frame, {roles_.frame, roles_.parameters, roles_.gradients},
                         roles_.store);
}

}  // namespace th::zero
