#include "th/zero/engine/engine.hpp"

#include "th/base/bit_flip.hpp"
#include "th/base/hash.hpp"
#include "th/zero/slot_audit.hpp"
#include "th/zero/state_store.hpp"
#include "zero/engine/step_progress.hpp"
#include "zero/roles/engine_frame.hpp"
#include "zero/roles/gradient_reducer.hpp"
#include "zero/roles/node_memory.hpp"
#include "zero/roles/parameter_residency.hpp"
#include "zero/roles/parameter_update.hpp"
#include "zero/roles/step_end.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace th::zero {

using runtime::FlightRecord;

struct ZeroEngine::Roles {
  Roles(const config::RunConfig& config, const model::Transformer& model,
        runtime::Collectives& collectives, std::int64_t slots, runtime::Device* device)
      : frame(config, model, collectives, slots, device), progress(frame.rounds), ends(frame) {
    node = allocate_once_a_node(frame);
    store = std::make_unique<StateStore>(frame.device, frame.layout, frame.buffers, frame.policy,
                                         node.given());
    parameters = ParameterResidency::make(frame, *store, std::move(node.parameters));
    end = StepEnd::make(frame);
    if (config.run.audit_steps > 0)
      audit = SlotAudit::make(frame.device, frame.layout, frame.buffers);
    gradients = GradientReducer::make(frame, audit.get(), end->norms_of_reduction());
    update = ParameterUpdate::make({frame, node, *store, *parameters, *gradients});
    const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);
    frame.compute.drain();  // zeros come by both
    frame.communication.drain();
  }

  EngineFrame frame;
  StepProgress progress;
  NodeMemory node;
  std::unique_ptr<StateStore> store;
  std::unique_ptr<ParameterResidency> parameters;
  std::unique_ptr<StepEnd> end;
  std::unique_ptr<SlotAudit> audit;  ///< null: the deck asks for none
  std::unique_ptr<GradientReducer> gradients;
  std::unique_ptr<ParameterUpdate> update;
  StreamsEnd ends;  ///< the last member: tasks use the others
};

ZeroEngine::ZeroEngine(const config::RunConfig& config, const model::Transformer& model,
                       runtime::Collectives& collectives, std::int64_t slots,
                       runtime::Device* device)
    : roles_(std::make_unique<Roles>(config, model, collectives, slots, device)) {
  Roles& r = *roles_;
  units_ = std::make_unique<EngineUnits>(
      EngineUnits::Roles{r.frame, *r.parameters, *r.gradients, *r.update, r.audit.get()});
  states_ = std::make_unique<EngineStates>(
      EngineStates::Roles{r.frame, r.node, *r.store, *r.parameters, *r.gradients});
  audit_ = std::make_unique<EngineAudit>(EngineAudit::Roles{
      r.frame, r.progress, *units_, *r.end, *r.store, *r.parameters, *r.gradients, r.audit.get()});
  states_->initialise();
}

ZeroEngine::~ZeroEngine() { roles_->frame.end_streams(); }

void ZeroEngine::begin_step() {
  Roles& r = *roles_;
  r.frame.communication.run_bodies();  // of a step that was given up
  r.frame.device.settle();
  r.progress.begin();
  if (r.audit) r.audit->leave();
  r.end->begin();
  units_->begin_slots(r.frame.rounds);
}

void ZeroEngine::accumulate(model::Transformer& model, const data::Batch* batch,
                            std::uint64_t step_key, double gradient_scale, double label_smoothing) {
  Roles& r = *roles_;
  r.progress.require_rounds();
  const std::int64_t round = r.progress.round();
  // An idle pass has a number too, which nothing is drawn from.
  const std::int64_t slot = std::max<std::int64_t>(0, r.frame.dealing.slot(r.frame.rank, round));
  const bool audited = r.audit && r.audit->is_of(round, r.frame.rank);
  if (r.audit) r.audit->enter(audited ? SlotAudit::Pass::kOwn : SlotAudit::Pass::kOther);
  const BitFlip::Computing flips(audited && batch != nullptr && batch->sentences > 0);
  units_->run_slot(
      model, batch, {round, slot, round + 1 == r.frame.rounds},
      {hash_pair(step_key, static_cast<std::uint64_t>(slot)), gradient_scale, label_smoothing},
      r.end->losses() + round);
  r.progress.finish_round();
  r.frame.device.settle();
}

StepResult ZeroEngine::step(const StepRequest& request) {
  end_step(request);
  return result();
}

void ZeroEngine::end_step(const StepRequest& request) {
  Roles& r = *roles_;
  r.progress.end();
  const FlightRecord::HostScope event(*r.frame.flight, FlightRecord::What::kOptimizer);
  r.frame.compute.wait(r.frame.communication.record());
  r.frame.communication.run_bodies();
  r.end->conclude(request, *r.gradients);
  if (r.end->runs_ahead()) return r.update->run(request, 1.0, r.end->on_device());
  const runtime::StepOutcome& outcome = r.end->last();
  if (outcome.finite != 0) {
    r.update->run(request, outcome.gradient_factor, nullptr);
  } else {
    r.update->skip();
  }
}

StepResult ZeroEngine::result() { return roles_->end->result(); }
bool ZeroEngine::runs_ahead() const noexcept { return roles_->end->runs_ahead(); }
void ZeroEngine::settle() { roles_->frame.settle(); }

const FlatLayout& ZeroEngine::layout() const noexcept { return roles_->frame.layout; }
const EngineBuffers& ZeroEngine::buffers() const noexcept { return roles_->frame.buffers; }
std::int64_t ZeroEngine::rounds() const noexcept { return roles_->frame.rounds; }
std::int64_t ZeroEngine::slots() const noexcept { return roles_->frame.slots; }
const SlotDealing& ZeroEngine::dealing() const noexcept { return roles_->frame.dealing; }
const runtime::Stream& ZeroEngine::communication() const noexcept {
  return roles_->frame.communication;
}
const std::shared_ptr<runtime::FlightRecord>& ZeroEngine::flight_record() const noexcept {
  return roles_->frame.flight;
}

}  // namespace th::zero
