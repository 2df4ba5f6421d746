#include "th/zero/state_store.hpp"

#include "th/base/error.hpp"
#include "th/runtime/memory_ledger.hpp"
#include "th/zero/optimizer.hpp"

#include <algorithm>

namespace th::zero {

using runtime::DeviceBlock;
using runtime::MemoryClass;
using runtime::MemoryScope;
using runtime::UpdateOperands;

namespace {

constexpr std::int64_t kFloat = 4;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

void* moved(void* memory, std::int64_t bytes) { return memory == nullptr ? nullptr : static_cast<std::byte*>(memory) + bytes; }
const void* moved(const void* memory, std::int64_t bytes) {
  return memory == nullptr ? nullptr : static_cast<const std::byte*>(memory) + bytes;
}
float* moved(float* memory, std::int64_t elements) { return memory == nullptr ? nullptr : memory + elements; }

/// Elements [begin, begin + count) of operands that lie where they live.
UpdateOperands part(const UpdateOperands& all, std::int64_t begin, std::int64_t count, const BufferTypes& types) {
  UpdateOperands out = all;
  out.weights = moved(all.weights, begin);
  out.gradients = moved(all.gradients, begin * element_bytes(types.reduced));
  out.exp_avg = moved(all.exp_avg, begin);
  out.exp_avg_sq = moved(all.exp_avg_sq, begin);
  out.working = moved(all.working, begin * element_bytes(types.working));
  out.count = count;
  return out;
}

}  // namespace

StateStore::StateStore(runtime::Device& device, const FlatLayout& layout, const EngineBuffers& buffers, const ZeroPolicy& policy)
    : device_(device), layout_(layout), buffers_(buffers), policy_(policy) {
  const runtime::Place states = buffers.optimizer_on_host ? runtime::Place::kHost : runtime::Place::kDevice;
  const auto block = [&](MemoryClass kind, runtime::Place place, std::int64_t bytes) {
    const MemoryScope scope(kind);
    return DeviceBlock(device, place, bytes);
  };
  masters_ = block(MemoryClass::kMaster, states, buffers.masters * kFloat);
  exp_avg_ = block(MemoryClass::kExpAvg, states, buffers.moments * kFloat);
  exp_avg_sq_ = block(MemoryClass::kExpAvgSq, states, buffers.moments * kFloat);
  if (buffers.parameters_on_host) {
    parameters_ = block(MemoryClass::kParameters, runtime::Place::kHost, buffers.parameters * element_bytes(buffers.types.working));
  }
  const UpdateStaging& s = buffers.staging;
  if (s.piece == 0) return;
  staging_ = block(MemoryClass::kOffloadStaging, states, s.bytes());
  std::byte* next = staging_.data();
  const auto area = [&](std::int64_t bytes) { return bytes == 0 ? nullptr : std::exchange(next, next + s.piece * bytes); };
  for (StagingPlace& place : places_) {
    place.gradients = area(s.gradients);
    place.weights = area(s.weights);
    place.working = area(s.working);
    place.arrived = device.make_event();
    place.computed = device.make_event();
    place.left = device.make_event();
  }
  in_ = device.make_queue();
  out_ = device.make_queue();
  ready_ = device.make_event();
  sent_ = device.make_event();
}

StateStore::~StateStore() {
  try {  // copies may be under way after an error
    if (in_) in_->synchronize();
    if (out_) out_->synchronize();
  } catch (const Error&) {  // the error that ended the run was reported
  }
}

std::int64_t StateStore::offset(const Slice& slice) const {
  const FlatLayout::Unit& unit = layout_.units()[index(slice.unit)];
  return (policy_.shard_optimizer ? unit.shard_offset : unit.offset) + slice.begin;
}

float* StateStore::at(State state, const Slice& slice) const {
  if (state == State::kExpAvg) return exp_avg_.as<float>() + offset(slice);
  if (state == State::kExpAvgSq) return exp_avg_sq_.as<float>() + offset(slice);
  return operands(slice).weights;
}

std::byte* StateStore::parameters(std::int64_t unit) const {
  if (!buffers_.parameters_on_host) return nullptr;
  return parameters_.data() + layout_.units()[index(unit)].shard_offset * element_bytes(buffers_.types.working);
}

UpdateOperands StateStore::operands(const Slice& slice) const {
  const BufferTypes& types = buffers_.types;
  const std::int64_t begin = offset(slice);
  void* parameters = slice.parameters;
  if (buffers_.parameters_on_host) parameters = this->parameters(slice.unit) + slice.begin * element_bytes(types.working);
  UpdateOperands out;
  out.weights = buffers_.masters > 0 ? masters_.as<float>() + begin : static_cast<float*>(parameters);
  out.gradients = slice.gradients;
  if (buffers_.moments > 0) {
    out.exp_avg = exp_avg_.as<float>() + begin;
    out.exp_avg_sq = exp_avg_sq_.as<float>() + begin;
  }
  if (buffers_.masters > 0) out.working = parameters;
  out.count = slice.count;
  out.gradient_type = element_type(types.reduced);
  out.working_type = element_type(types.working);
  return out;
}

void StateStore::announce(const Slice& slice) {
  const UpdateOperands all = operands(slice);
  const std::int64_t most = buffers_.staging.piece > 0 ? buffers_.staging.piece : slice.count;
  for (std::int64_t at = 0; at < slice.count; at += most) {
    const std::int64_t n = std::min(most, slice.count - at);
    announced_.push_back({part(all, at, n, buffers_.types), at + n == slice.count});
  }
  if (buffers_.staging.piece == 0) return;
  ready_->record(device_.compute());
  in_->wait(*ready_);
  fetch();
}

void StateStore::fetch() {
  const UpdateStaging& s = buffers_.staging;
  for (; fetched_ < std::min(announced_.size(), places_.size()); ++fetched_) {
    const UpdateOperands& home = announced_[fetched_].home;
    StagingPlace& place = places_[(next_place_ + fetched_) % places_.size()];
    // What has arrived thus tells that the place was free, and that the compute queue was done with gradients and parameters.
    in_->wait(*place.left);
    if (s.gradients > 0) in_->copy(place.gradients, home.gradients, home.count * s.gradients);
    if (s.weights > 0) in_->copy(place.weights, home.weights, home.count * s.weights);
    place.arrived->record(*in_);
  }
}

UpdateOperands StateStore::staged(const Piece& piece, const StagingPlace& place) const {
  UpdateOperands out = piece.home;
  if (place.gradients != nullptr) out.gradients = place.gradients;
  if (place.weights != nullptr) out.weights = reinterpret_cast<float*>(place.weights);
  if (place.working != nullptr) out.working = place.working;
  return out;
}

void StateStore::update_next(const runtime::UpdateFactors& factors) {
  for (bool done = false; !done;) {
    ensure(!announced_.empty(), "StateStore: an update of nothing");
    const Piece piece = announced_.front();
    done = piece.ends_slice;
    if (buffers_.staging.piece == 0) {
      device_.update(factors, piece.home);
      announced_.pop_front();
      continue;
    }
    StagingPlace& place = places_[next_place_];
    compute(piece, place, factors);
    send(piece, place);
    announced_.pop_front();
    --fetched_;
    next_place_ = (next_place_ + 1) % places_.size();
    fetch();
  }
  if (buffers_.staging.piece == 0) return;
  sent_->record(*out_);
  device_.compute().wait(*sent_);
}

void StateStore::compute(const Piece& piece, StagingPlace& place, const runtime::UpdateFactors& factors) {
  const UpdateOperands here = staged(piece, place);
  if (buffers_.optimizer_on_host) {
    place.arrived->wait();
    return apply_update(factors, here);
  }
  device_.compute().wait(*place.arrived);
  device_.update(factors, here);
  place.computed->record(device_.compute());
  out_->wait(*place.computed);
}

void StateStore::send(const Piece& piece, StagingPlace& place) {
  const UpdateStaging& s = buffers_.staging;
  if (s.weights > 0) out_->copy(piece.home.weights, place.weights, piece.home.count * s.weights);
  if (s.working > 0) out_->copy(piece.home.working, place.working, piece.home.count * s.working);
  place.left->record(*out_);
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
    if (buffers_.optimizer_on_host) {
      device_.compute().synchronize();  // the masters come by it, and it waited for what left the place
      round_elements(home.weights, home.working_type, to, home.count);
    } else {
      device_.round(home.weights, home.working_type, to, home.count);
    }
    if (through) device_.compute().copy(home.working, to, home.count * element_bytes(types.working));
    device_.compute().synchronize();
  }
}

}  // namespace th::zero
