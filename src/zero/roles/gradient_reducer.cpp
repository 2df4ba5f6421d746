#include "zero/roles/gradient_reducer.hpp"

#include "th/base/error.hpp"
#include "th/zero/optimizer.hpp"
#include "zero/roles/reducers.hpp"

namespace th::zero {

using runtime::Access;
using runtime::FlightRecord;
using runtime::MemoryClass;

std::unique_ptr<GradientReducer> GradientReducer::make(const EngineFrame& frame, SlotAudit* audit,
                                                       double* norms) {
  return frame.config.comm.reduction == config::Reduction::kFast
             ? make_fast_reducer(frame)
             : make_exact_reducer(frame, audit, norms);
}

GradientReducer::GradientReducer(const EngineFrame& frame)
    : frame_(frame), states_(frame.layout.units().size(), State::kNone) {
  const EngineBuffers& b = frame.buffers;
  const bool sharded = frame.policy.shard_gradients;
  gradients_ = take_buffer(frame, sharded ? MemoryClass::kCommunication : MemoryClass::kGradients,
                           b.exchanged.total, b.types.reduced);
  if (b.types.short_gradients())
    made_ = take_block(frame, MemoryClass::kCommunication,
                       b.unit_gradients * element_size(ElementType::kFp32));
  if (sharded)
    shards_ =
        take_block(frame, MemoryClass::kGradients, b.gradients * element_size(b.types.reduced));
  free_.resize(b.exchanged.places());
  for (std::int64_t u = 0; u < frame.units(); ++u) places_.push_back(b.exchanged.place(u, 0));
}

void GradientReducer::go(std::int64_t unit, State from, State to) {
  ensure(states_[index(unit)] == from,
         "GradientReducer: a unit's gradient is opened, closed and "
         "reduced or dropped, in this order");
  states_[index(unit)] = to;
}

std::byte* GradientReducer::sent(std::int64_t unit) const {
  const EngineBuffers& b = frame_.buffers;
  return element_at(gradients_->data(), b.exchanged.offset(places_[index(unit)]), b.types.reduced);
}

float* GradientReducer::made(std::int64_t unit) const {
  const EngineBuffers& b = frame_.buffers;
  if (!b.types.short_gradients()) return reinterpret_cast<float*>(sent(unit));
  return made_.as<float>() + b.made.offset(b.made.place(unit, 0));
}

std::byte* GradientReducer::reduced(std::int64_t number) const {
  const FlatLayout::Unit& unit = frame_.unit(number);
  const ElementType type = frame_.buffers.types.reduced;
  if (frame_.policy.shard_gradients) return element_at(shards_.data(), unit.shard_offset, type);
  return element_at(gradients_->data(), unit.offset + frame_.rank * unit.shard, type);
}

std::byte* GradientReducer::whole(std::int64_t unit) const {
  return element_at(gradients_->data(), frame_.unit(unit).offset, frame_.buffers.types.reduced);
}

void GradientReducer::read_until(std::int64_t unit, const runtime::Event& event) {
  free_[places_[index(unit)]] = event;
}

void GradientReducer::take_place(std::int64_t unit) {
  const UnitPlaces& places = frame_.buffers.exchanged;
  if (places.takes_turns(unit)) places_[index(unit)] = places.place(unit, turn_++);
  frame_.compute.wait(free_[places_[index(unit)]]);
}

float* GradientReducer::open(std::int64_t unit) {
  go(unit, State::kNone, State::kMade);
  if (!frame_.buffers.types.short_gradients()) take_place(unit);
  return made(unit);
}

void GradientReducer::clear(std::int64_t number, const SlotPass& pass) {
  const FlatLayout::Unit& unit = frame_.unit(number);
  float* gradients = made(number);
  frame_.compute.touch("gradient", {runtime::writes(gradients, unit.padded * kFloat)});
  if (adds(pass)) return;
  const auto zero = [&](std::int64_t begin, std::int64_t end) {
    frame_.compute.clear(gradients + begin, (end - begin) * kFloat);
  };
  std::int64_t done = 0;  // zeroed, or to be written by one product: on a rank without a slot none
  for (std::int64_t t = unit.first_tensor;
       t < unit.first_tensor + unit.tensor_count && !pass.idle(); ++t) {
    const FlatLayout::Tensor& tensor = frame_.layout.tensors()[index(t)];
    if (!tensor.spec.one_product) continue;
    zero(done, tensor.offset);
    done = tensor.offset + tensor.count;
  }
  zero(done, unit.padded);
}

void GradientReducer::close(std::int64_t unit) {
  go(unit, State::kMade, State::kComplete);
  const BufferTypes& types = frame_.buffers.types;
  const std::int64_t padded = frame_.unit(unit).padded;
  float* from = made(unit);
  frame_.compute.touch("gradient", {runtime::writes(from, padded * kFloat)});
  if (!types.short_gradients()) return;
  take_place(unit);
  frame_.compute.enqueue("round",
                         [&frame = frame_, from, to = sent(unit), padded] {
                           frame.device.round(frame.compute, from, frame.buffers.types.reduced, to,
                                              padded);
                         },
                         {runtime::reads(from, padded * kFloat),
                          runtime::writes(sent(unit), padded * element_size(types.reduced))});
}

void GradientReducer::drop(std::int64_t unit) { go(unit, State::kComplete, State::kNone); }

runtime::Event GradientReducer::reduce(std::int64_t number, const SlotPass& pass) {
  go(number, State::kComplete, State::kNone);
  const FlatLayout::Unit& unit = frame_.unit(number);
  const std::size_t place = places_[index(number)];
  const std::int64_t width = element_size(frame_.buffers.types.reduced);
  const Access gradient{access(pass.round), sent(number), unit.padded * width};
  frame_.communication.wait(frame_.compute.record());
  frame_.communication.enqueue(
      "reduce",
      [this, number, offset = frame_.buffers.exchanged.offset(place), round = pass.round,
       slot = pass.slot] {
        const FlightRecord::Scope scope(frame_.flight, frame_.communication,
                                        FlightRecord::What::kReduce,
                                        FlightRecord::On::kCommunication, number, slot);
        sum(number, offset, round);
      },
      {gradient, runtime::writes(reduced(number), unit.shard * width), norms_of(number)});
  return free_[place] = frame_.communication.record();
}

}  // namespace th::zero
