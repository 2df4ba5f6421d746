#include "th/zero/engine/engine_units.hpp"

#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"
#include "th/zero/resident_source.hpp"
#include "th/zero/slot_audit.hpp"
#include "zero/engine/spoil.hpp"
#include "zero/roles/gradient_reducer.hpp"
#include "zero/roles/parameter_residency.hpp"
#include "zero/roles/parameter_update.hpp"

#include <ATen/ops/from_blob.h>

#include <utility>

namespace th::zero {

using runtime::FlightRecord;

EngineUnits::EngineUnits(const Roles& roles)
    : roles_(roles),
      tensors_(roles.frame.layout.units().size()),
      forward_event_(tensors_.size()),
      backward_event_(tensors_.size(), 0) {}

void EngineUnits::begin_slots(std::int64_t passes) {
  roles_.parameters.begin(roles_.frame.use.opens, passes);
}
void EngineUnits::begin_evaluation(std::int64_t rounds) {
  roles_.parameters.begin(roles_.frame.use.forward_opens, rounds);
}
void EngineUnits::begin_decoding() { roles_.parameters.begin(roles_.frame.use.decoding_opens, 1); }
void EngineUnits::begin_decoding_steps(std::int64_t steps) {
  roles_.parameters.begin(roles_.frame.use.step_opens, steps);
}

void EngineUnits::run_slot(model::Transformer& model, const data::Batch* batch,
                           const SlotPass& pass, const model::SlotTarget& target, double* loss) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  pass_ = pass;
  if (batch == nullptr || batch->sentences == 0) {
    pass_.slot = FlightRecord::kNone;
    return model.idle(*this, model::IdlePass::kSlot);
  }
  const FlightRecord::HostScope event(*roles_.frame.flight, FlightRecord::What::kSlot, pass_.slot);
  model.train_slot(*this, *batch, target, loss);
  pass_.slot = FlightRecord::kNone;
}

std::vector<at::Tensor> EngineUnits::views(std::int64_t number, void* base,
                                           ElementType type) const {
  const EngineFrame& frame = roles_.frame;
  const FlatLayout::Unit& unit = frame.unit(number);
  const at::TensorOptions options =
      at::TensorOptions().dtype(model::scalar_type(type)).device(frame.tensor_device);
  std::vector<at::Tensor> out;
  for (std::int64_t t = unit.first_tensor; t < unit.first_tensor + unit.tensor_count; ++t) {
    const FlatLayout::Tensor& tensor = frame.layout.tensors()[index(t)];
    out.push_back(at::for_blob(element_at(base, tensor.offset, type), tensor.spec.shape)
                      .options(options)
                      .target_device(frame.tensor_device)
                      .make_tensor());
  }
  return out;
}

void EngineUnits::acquire(std::int64_t unit) {
  if (std::byte* values = roles_.parameters.acquire(unit))
    tensors_[index(unit)].values = views(unit, values, roles_.frame.buffers.types.working);
}

const model::UnitTensors& EngineUnits::open_forward(std::int64_t unit) {
  const EngineFrame& frame = roles_.frame;
  acquire(unit);
  std::optional<std::uint64_t>& event = forward_event_[index(unit)];
  if (event) {  // what opened it before was to hold it, and computed nothing yet
    FlightRecord::restart(frame.flight, frame.compute, *event);
  } else {
    event = FlightRecord::begin(frame.flight, frame.compute, FlightRecord::What::kForward,
                                FlightRecord::On::kCompute, unit, pass_.slot);
  }
  roles_.parameters.gather_ahead();
  spoil_values(frame, unit, tensors_[index(unit)]);
  return tensors_[index(unit)];
}

void EngineUnits::close_forward(std::int64_t unit) {
  roles_.parameters.release(unit);
  if (const auto event = std::exchange(forward_event_[index(unit)], std::nullopt))
    FlightRecord::end(roles_.frame.flight, roles_.frame.compute, *event);
}

model::UnitTensors& EngineUnits::open_backward(std::int64_t unit) {
  const EngineFrame& frame = roles_.frame;
  acquire(unit);
  roles_.parameters.gather_ahead();
  model::UnitTensors& tensors = tensors_[index(unit)];
  float* gradients = roles_.gradients.open(unit);
  backward_event_[index(unit)] =
      FlightRecord::begin(frame.flight, frame.compute, FlightRecord::What::kBackward,
                          FlightRecord::On::kCompute, unit, pass_.slot);
  tensors.gradients = views(unit, gradients, ElementType::kFp32);
  tensors.product_gradients =
      roles_.gradients.adds(pass_) || pass_.idle() ? model::Write::kAdd : model::Write::kSet;
  roles_.gradients.clear(unit, pass_);
  return tensors;
}

void EngineUnits::close_backward(std::int64_t unit) {
  const EngineFrame& frame = roles_.frame;
  GradientReducer& gradients = roles_.gradients;
  SlotAudit* audit = roles_.audit;
  gradients.close(unit);
  if (audit != nullptr && audit->computes()) {
    spoil_gradient(BitFlip::Place::kGradient, unit);
    audit->add(unit, gradients.sent(unit));
  }
  roles_.parameters.release(unit);
  FlightRecord::end(frame.flight, frame.compute, backward_event_[index(unit)]);
  if (audit != nullptr && audit->again()) return gradients.drop(unit);
  spoil_gradient(BitFlip::Place::kMessage, unit);
  if (gradients.adds_over_rounds() && !pass_.last_round) return gradients.drop(unit);
  const runtime::Event reduced = gradients.reduce(unit, pass_);
  if (pass_.last_round) roles_.update.prepare(unit, reduced);
}

void EngineUnits::spoil_gradient(BitFlip::Place place, std::int64_t unit) {
  zero::spoil_gradient(roles_.frame, place, unit, roles_.gradients.sent(unit));
}

std::unique_ptr<model::ParameterSource> EngineUnits::resident() {
  const EngineFrame& frame = roles_.frame;
  for (std::int64_t u = 0; u < frame.units(); ++u) roles_.parameters.wait_for(u);
  return std::make_unique<ResidentSource>(
      frame.layout,
      at::for_blob(roles_.parameters.whole(0), {frame.layout.padded_total()})
          .options(at::TensorOptions().dtype(model::scalar_type(frame.buffers.types.working)))
          .make_tensor());
}

std::unique_ptr<model::ParameterSource> EngineUnits::gather_all(const model::Transformer& model) {
  const EngineFrame& frame = roles_.frame;
  if (frame.buffers.memory == runtime::DeviceMemory::kHost && !frame.policy.shard_parameters)
    return resident();
  const runtime::MemoryScope scope(runtime::MemoryClass::kGatherSlots);
  const FlatLayout whole(model.units(), 1);
  const ElementType type = frame.buffers.types.working;
  at::Tensor flat =
      model::zeros({whole.padded_total()}, at::TensorOptions().dtype(model::scalar_type(type)));
  GatherBuffer scratch = make_gather_buffer(frame, roles_.parameters.scratch_elements());
  for (std::int64_t u = 0; u < frame.units(); ++u) {
    const std::byte* values = roles_.parameters.read_whole(u, scratch);
    runtime::copy_now(frame.device,
                      element_at(flat.data_ptr(), whole.units()[index(u)].offset, type), values,
                      frame.unit(u).content * element_size(type));
    roles_.parameters.forget(u);
  }
  return std::make_unique<ResidentSource>(whole, std::move(flat));
}

}  // namespace th::zero
