#include "th/zero/state_store.hpp"

#include "th/base/error.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/zero/optimizer.hpp"
#include "zero/sizes.hpp"

#include <algorithm>
#include <utility>

namespace th::zero {

using runtime::DeviceBlock;
using runtime::MemoryClass;
using runtime::MemoryScope;
using runtime::reads;
using runtime::UpdateOperands;
using runtime::writes;

namespace {

void* moved(void* memory, std::int64_t bytes) {
  return memory == nullptr ? nullptr : static_cast<std::byte*>(memory) + bytes;
}
const void* moved(const void* memory, std::int64_t bytes) {
  return memory == nullptr ? nullptr : static_cast<const std::byte*>(memory) + bytes;
}
float* moved(float* memory, std::int64_t elements) {
  return memory == nullptr ? nullptr : memory + elements;
}

/// Elements [begin, begin + count) of operands that lie where they live.
UpdateOperands part(const UpdateOperands& all, std::int64_t begin, std::int64_t count,
                    const BufferTypes& types) {
  UpdateOperands out = all;
  out.weights = moved(all.weights, begin);
  out.gradients = moved(all.gradients, begin * element_size(types.reduced));
  for (float*& state : out.states) state = moved(state, begin);
  for (std::uint16_t*& state : out.short_states) state = state == nullptr ? nullptr : state + begin;
  out.first += begin;
  out.working = moved(all.working, begin * element_size(types.working));
  out.count = count;
  return out;
}

}  // namespace

StateStore::StateStore(runtime::Device& device, const FlatLayout& layout,
                       const EngineBuffers& buffers, const ZeroPolicy& policy, const Given& given)
    : device_(device), layout_(layout), buffers_(buffers), policy_(policy) {
  const runtime::Place states =
      buffers.optimizer_on_host ? runtime::Place::kHost : runtime::Place::kDevice;
  const auto block = [&](MemoryClass kind, runtime::Place place, std::int64_t bytes) {
    const MemoryScope scope(kind);
    return DeviceBlock(device, place, bytes);
  };
  const auto state = [&](float* is_given, DeviceBlock& own, MemoryClass kind, std::int64_t bytes) {
    if (is_given == nullptr) own = block(kind, states, bytes);
    return is_given == nullptr ? own.as<float>() : is_given;
  };
  states_.masters =
      state(given.masters, own_masters_, MemoryClass::kMaster, buffers.masters * kFloat);
  for (std::size_t s = 0; s < buffers.states; ++s) {
    states_.states[s] = state(given.states[s], own_states_[s], runtime::optimizer_state_class(s),
                              buffers.bytes_of_state(s));
  }
  if (buffers.parameters_on_host) {
    parameters_ = block(MemoryClass::kParameters, runtime::Place::kHost,
                        buffers.parameters * element_size(buffers.types.working));
  }
  if (buffers.host_gradients > 0) {
    gradients_ = block(MemoryClass::kGradients, runtime::Place::kHost,
                       buffers.host_gradients * element_size(buffers.types.reduced));
    if (buffers.overlap) own_bringing_ = device.make_stream(runtime::StreamUse::kCopies);
    bringing_ = own_bringing_ ? own_bringing_.get() : &device.compute();
    brought_.resize(layout.units().size());
  }
  const UpdateStaging& s = buffers.staging;
  if (s.piece == 0) return;
  ensure(layout.units().size() >= places_.size(), "StateStore: fewer units than places");
  staging_ = block(MemoryClass::kOffloadStaging, states, s.bytes());
  std::byte* next = staging_.data();
  const auto area = [&](std::int64_t bytes) {
    return bytes == 0 ? nullptr : std::exchange(next, next + s.piece * bytes);
  };
  for (StagingPlace& place : places_) {
    place.gradients = area(s.gradients);
    place.weights = area(s.weights);
    place.working = area(s.working);
  }
  if (s.gradients + s.weights > 0) in_ = device.make_stream(runtime::StreamUse::kCopies);
  if (s.weights + s.working > 0) out_ = device.make_stream(runtime::StreamUse::kCopies);
}

StateStore::~StateStore() {
  try {  // copies may be under way after an error
    if (own_bringing_) own_bringing_->drain();
    if (in_) in_->drain();
    if (out_) out_->drain();
  } catch (const Error&) {  // the error that ended the run was reported
  }
}

std::int64_t StateStore::offset(const Slice& slice) const {
  const FlatLayout::Unit& unit = layout_.units()[index(slice.unit)];
  return (policy_.shard_optimizer ? unit.shard_offset : unit.offset) + slice.begin;
}

float* StateStore::at(State state, const Slice& slice) const {
  if (state == State::kParameters) return operands(slice).weights;
  return states_.states[static_cast<std::size_t>(state) - 1] + offset(slice);
}

std::int64_t StateStore::offset(std::size_t state, const Slice& slice, std::int64_t at) const {
  const StateLayout& layout = buffers_.state_layouts[state];
  if (layout.dense()) return offset(slice) + at;
  const std::int64_t shard_begin = policy_.shard_optimizer ? slice.first - slice.begin : 0;
  return layout.offset(slice.unit, slice.first + at, shard_begin);
}

void StateStore::read(State state, const Slice& slice, std::span<float> out) const {
  const std::size_t number = static_cast<std::size_t>(state) - 1;
  std::fill(out.begin(), out.end(), 0.0F);
  buffers_.state_layouts[number].for_runs(
      slice.unit, slice.first, slice.count, [&](std::int64_t begin, std::int64_t count) {
        float* to = out.data() + begin - slice.first;
        const std::int64_t from = offset(number, slice, begin - slice.first);
        if (buffers_.state_element(number) == 2)
          widen_elements(short_state(number) + from, ElementType::kBf16, to, count);
        else
          std::copy_n(states_.states[number] + from, count, to);
      });
}

void StateStore::write(State state, const Slice& slice, std::span<const float> in) {
  const std::size_t number = static_cast<std::size_t>(state) - 1;
  buffers_.state_layouts[number].for_runs(
      slice.unit, slice.first, slice.count, [&](std::int64_t begin, std::int64_t count) {
        const float* from = in.data() + begin - slice.first;
        const std::int64_t to = offset(number, slice, begin - slice.first);
        if (buffers_.state_element(number) == 2)
          round_elements(from, ElementType::kBf16, short_state(number) + to, count);
        else
          std::copy_n(from, count, states_.states[number] + to);
      });
}

void StateStore::write_drawn(State state, const Slice& slice, std::span<const float> in,
                             std::uint64_t draws) {
  const std::size_t number = static_cast<std::size_t>(state) - 1;
  if (buffers_.state_element(number) == 4) return write(state, slice, in);
  const std::int64_t unit = layout_.units()[index(slice.unit)].first_block * FlatLayout::kBlock;
  buffers_.state_layouts[number].for_runs(
      slice.unit, slice.first, slice.count, [&](std::int64_t begin, std::int64_t count) {
        round_by_draws({in.data() + begin - slice.first, index(count)}, draws, unit + begin,
                       short_state(number) + offset(number, slice, begin - slice.first));
      });
}

std::byte* StateStore::parameters(std::int64_t unit) const {
  if (!buffers_.parameters_on_host) return nullptr;
  return parameters_.data() +
         layout_.units()[index(unit)].shard_offset * element_size(buffers_.types.working);
}

UpdateOperands StateStore::operands(const Slice& slice) const {
  const BufferTypes& types = buffers_.types;
  const std::int64_t begin = offset(slice);
  void* parameters = slice.parameters;
  if (buffers_.parameters_on_host)
    parameters = this->parameters(slice.unit) + slice.begin * element_size(types.working);
  UpdateOperands out;
  out.weights = buffers_.masters > 0 ? states_.masters + begin : static_cast<float*>(parameters);
  out.gradients = buffers_.host_gradients > 0
                      ? gradients_.data() + begin * element_size(types.reduced)
                      : slice.gradients;
  for (std::size_t s = 0; s < buffers_.states; ++s) {
    const std::int64_t at = offset(s, slice, 0);
    if (buffers_.state_element(s) == 2)
      out.short_states[s] = short_state(s) + at;
    else
      out.states[s] = states_.states[s] + at;
  }
  out.first = layout_.units()[index(slice.unit)].first_block * FlatLayout::kBlock + slice.first;
  if (buffers_.masters > 0) out.working = parameters;
  out.count = slice.count;
  out.gradient_type = types.reduced;
  out.working_type = types.working;
  return out;
}

void StateStore::bring(const Slice& slice, const runtime::Event& reduced,
                       const std::shared_ptr<runtime::FlightRecord>& flight) {
  if (bringing_ == nullptr) return;
  const std::int64_t width = element_size(buffers_.types.reduced), bytes = slice.count * width;
  std::byte* to = gradients_.data() + offset(slice) * width;
  bringing_->wait(reduced);
  bringing_->enqueue("bring a gradient",
                     [this, to, from = slice.gradients, bytes, unit = slice.unit, flight] {
                       const runtime::FlightRecord::Scope scope(
                           flight, *bringing_, runtime::FlightRecord::What::kFetch,
                           runtime::FlightRecord::On::kCopies, unit);
                       bringing_->copy(to, from, bytes);
                     },
                     {reads(slice.gradients, bytes), writes(to, bytes)});
  brought_[index(slice.unit)] = bringing_->record();
}

void StateStore::leave_gradients() {
  if (bringing_ != nullptr) bringing_->drain();
}

void StateStore::announce(const Slice& slice) {
  ensure(bringing_ == nullptr || brought_[index(slice.unit)].stream != nullptr,
         "StateStore: an update on the host of gradients that did not come");
  const UpdateOperands all = operands(slice);
  const std::int64_t most = buffers_.staging.piece > 0 ? buffers_.staging.piece : slice.count;
  for (std::int64_t at = 0; at < slice.count; at += most) {
    const std::int64_t n = std::min(most, slice.count - at);
    announced_.push_back(
        {part(all, at, n, buffers_.types), slice.unit, at == 0, at + n == slice.count});
  }
  if (buffers_.staging.piece == 0) return;
  if (buffers_.staging.gradients > 0) in_->wait(device_.compute().record());
  fetch();
}

void StateStore::fetch() {
  const UpdateStaging& s = buffers_.staging;
  for (; fetched_ < std::min(announced_.size(), places_.size()); ++fetched_) {
    const UpdateOperands& home = announced_[fetched_].home;
    StagingPlace& place = places_[(next_place_ + fetched_) % places_.size()];
    // What has arrived thus tells that the place was free, and that compute was done with gradients
    // and parameters.
    if (!in_) {
      place.arrived = place.left;
      continue;
    }
    in_->wait(place.left);  // and with at least as many units as places the weights that come have
                            // gone before
    const std::int64_t gradients = home.count * s.gradients, weights = home.count * s.weights;
    in_->enqueue(
        "fetch",
        [this, home, to = place.gradients, weights_to = place.weights, gradients, weights] {
          if (gradients > 0) in_->copy(to, home.gradients, gradients);
          if (weights > 0) in_->copy(weights_to, home.weights, weights);
        },
        {reads(home.gradients, gradients), reads(home.weights, weights),
         writes(place.gradients, gradients), writes(place.weights, weights)});
    place.arrived = in_->record();
  }
}

UpdateOperands StateStore::staged(const Piece& piece, const StagingPlace& place) const {
  UpdateOperands out = piece.home;
  if (place.gradients != nullptr) out.gradients = place.gradients;
  if (place.weights != nullptr) out.weights = reinterpret_cast<float*>(place.weights);
  if (place.working != nullptr) out.working = place.working;
  return out;
}

void StateStore::update_next(const runtime::UpdateFactors& factors,
                             const runtime::StepOutcome* outcome) {
  for (bool done = false; !done;) {
    ensure(!announced_.empty(), "StateStore: an update of nothing");
    Piece piece = announced_.front();
    piece.home.outcome = outcome;
    done = piece.ends_slice;
    if (bringing_ != nullptr && piece.begins_slice)
      updating().wait(std::exchange(brought_[index(piece.unit)], {}));
    if (buffers_.staging.piece == 0) {
      compute(piece.home, factors);
      announced_.pop_front();
      continue;
    }
    StagingPlace& place = places_[next_place_];
    updating().wait(place.arrived);
    compute(staged(piece, place), factors);
    send(piece, place);
    announced_.pop_front();
    --fetched_;
    next_place_ = (next_place_ + 1) % places_.size();
    fetch();
  }
}

void StateStore::average(const Slice& slice, double rate) {
  ensure(buffers_.memory == runtime::DeviceMemory::kHost && buffers_.averages,
         "StateStore: there is no average on the host");
  const float* weights = at(State::kParameters, slice);
  float* averages = at(optimizer_state(buffers_.states - 1), slice);
  updating().enqueue(
      "average",
      [weights, averages, rate = static_cast<float>(rate), count = slice.count] {
        average_elements(weights, averages, rate, count);
      },
      {reads(weights, slice.count * kFloat), writes(averages, slice.count * kFloat)});
}

void StateStore::swap_average(const Slice& slice) {
  ensure(buffers_.memory == runtime::DeviceMemory::kHost && buffers_.averages,
         "StateStore: there is no average on the host");
  float* weights = at(State::kParameters, slice);
  std::swap_ranges(weights, weights + slice.count, at(optimizer_state(buffers_.states - 1), slice));
}

runtime::Event StateStore::updated() {
  return (out_ ? *out_ : updating()).record();  // each piece leaves behind its update
}

void StateStore::compute(const UpdateOperands& here, const runtime::UpdateFactors& factors) {
  const BufferTypes& types = buffers_.types;
  const std::int64_t working =
      here.working == nullptr ? 0 : here.count * element_size(types.working);
  const std::size_t of_formula = runtime::element_states(factors.kind());
  const auto update = [this, here, factors] {
    if (buffers_.optimizer_on_host) return apply_update(factors, here);
    device_.update(device_.compute(), factors, here);
  };
  const auto enqueue = [&]<std::size_t... S>(std::index_sequence<S...>) {
    updating().enqueue(
        "update", update,
        {reads(here.outcome,
               here.outcome == nullptr ? 0 : std::int64_t{sizeof(runtime::StepOutcome)}),
         reads(here.gradients, here.count * element_size(types.reduced)),
         writes(here.weights, here.count * kFloat), writes(here.working, working),
         writes(here.states[S] != nullptr ? static_cast<void*>(here.states[S])
                                          : static_cast<void*>(here.short_states[S]),
                S < of_formula ? here.count * buffers_.state_element(S) : 0)...});
  };
  enqueue(std::make_index_sequence<runtime::kMaxOptimizerStates>{});
}

void StateStore::send(const Piece& piece, StagingPlace& place) {
  const UpdateStaging& s = buffers_.staging;
  const std::int64_t weights = piece.home.count * s.weights, working = piece.home.count * s.working;
  if (!out_) {
    place.left = updating().record();
    return;
  }
  out_->wait(updating().record());
  out_->enqueue("send",
                [this, home = piece.home, from = place.working, weights_from = place.weights,
                 weights, working] {
                  if (weights > 0) out_->copy(home.weights, weights_from, weights);
                  if (working > 0) out_->copy(home.working, from, working);
                },
                {reads(place.weights, weights), reads(place.working, working),
                 writes(piece.home.weights, weights), writes(piece.home.working, working)});
  place.left = out_->record();
}

void StateStore::publish(const Slice& slice) {
  const UpdateOperands all = operands(slice);
  if (all.working == nullptr) return;
  const BufferTypes& types = buffers_.types;
  ensure(announced_.empty(), "StateStore: parameters were written during an update");
  const bool through = buffers_.staging.working > 0;
  const std::int64_t most = through ? buffers_.staging.piece : slice.count;
  for (std::int64_t at = 0; at < slice.count; at += most) {
    const UpdateOperands home = part(all, at, std::min(most, slice.count - at), types);
    void* to = through ? places_[0].working : home.working;
    runtime::Stream& compute = device_.compute();
    compute.wait(updated());                          // what left the place
    if (buffers_.optimizer_on_host) compute.drain();  // the masters come by it
    updating().enqueue("publish",
                       [this, home, to] {
                         if (buffers_.optimizer_on_host)
                           return round_elements(home.weights, home.working_type, to, home.count);
                         device_.round(device_.compute(), home.weights, home.working_type, to,
                                       home.count);
                       },
                       {reads(home.weights, home.count * kFloat),
                        writes(to, home.count * element_size(types.working))});
    if (through) compute.copy(home.working, to, home.count * element_size(types.working));
    compute.drain();
  }
}

}  // namespace th::zero
