#include "th/zero/engine.hpp"

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/model/element.hpp"
#include "th/zero/host_device.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace th::zero {

namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

ZeroEngine::ZeroEngine(const config::RunConfig& config, const model::Transformer& model, runtime::Collectives& collectives, std::int64_t slots,
                       runtime::Device* device)
    : ZeroEngine(config, model, collectives, slots,
                 config.comm.overlap == config::Overlap::kOn && (device == nullptr || device->is_host()) ? runtime::threaded_streams()
                                                                                                         : runtime::inline_streams(),
                 device) {}

ZeroEngine::ZeroEngine(const config::RunConfig& config, const model::Transformer& model, runtime::Collectives& collectives, std::int64_t slots,
                       runtime::Streams streams, runtime::Device* device)
    : config_(config),
      collectives_(collectives),
      host_(device == nullptr ? std::make_unique<HostDevice>() : nullptr),
      device_(device == nullptr ? *host_ : *device),
      policy_(zero_policy(config.zero.stage)),
      layout_(model.units(), collectives.size()),
      slots_(slots),
      rounds_((slots + collectives.size() - 1) / collectives.size()),
      rank_(collectives.rank()),
      ranks_(collectives.size()),
      tensor_device_(model.device().tensors),
      use_(unit_use(model)),
      buffers_(engine_buffers(config_, layout_, use_, slots, device_.is_host() ? DeviceMemory::kHost : DeviceMemory::kOwn)),
      streams_(std::move(streams)) {
  ensure(slots >= ranks_, "fewer slots than ranks");
  allocate();
  lay_out_places();
  initialise(config.run.seed);
}

ZeroEngine::~ZeroEngine() = default;

void ZeroEngine::allocate() {
  using runtime::MemoryClass;
  using runtime::MemoryScope;
  const std::size_t units = layout_.units().size();
  open_.assign(units, 0);
  tensors_.resize(units);
  const EngineBuffers& b = buffers_;
  const BufferTypes& types = b.types;
  const auto block = [&](MemoryClass kind, std::int64_t bytes) {
    const MemoryScope scope(kind);
    return runtime::DeviceBlock(device_, runtime::Place::kDevice, bytes);
  };
  const auto buffer = [&](MemoryClass kind, std::int64_t elements, config::Precision type) {
    const MemoryScope scope(kind);
    return collectives_.allocate(words(elements, type));
  };
  if (!b.parameters_on_host) parameters_ = buffer(MemoryClass::kParameters, b.parameters, types.working);
  if (b.parameters_on_host) gather_source_ = buffer(MemoryClass::kGatherSlots, b.gather_source, types.working);
  gather_ = block(MemoryClass::kGatherSlots, b.gather_slots * element_bytes(types.working));
  // The buffer that travels is the whole gradient, or the unreduced one of the units in flight.
  const std::int64_t in_flight = types.short_gradients() ? b.travel : b.unit_gradients;
  gradients_ = policy_.shard_gradients ? buffer(MemoryClass::kCommunication, in_flight, types.reduced)
                                       : buffer(MemoryClass::kGradients, b.gradients, types.reduced);
  if (types.short_gradients()) unit_gradients_ = block(MemoryClass::kCommunication, b.unit_gradients * element_bytes(config::Precision::kFp32));
  if (policy_.shard_gradients) shard_gradients_ = block(MemoryClass::kGradients, b.gradients * element_bytes(types.reduced));
  store_ = std::make_unique<StateStore>(device_, layout_, b, policy_);
  pending_ = block(MemoryClass::kCommunication, b.pending_sums * b.pending_shard * element_bytes(config::Precision::kFp32));
  block_sums_ = block(MemoryClass::kCommunication, b.device_block_sums() * static_cast<std::int64_t>(sizeof(double)));
  device_losses_ = block(MemoryClass::kCommunication, b.device_losses() * static_cast<std::int64_t>(sizeof(double)));
  tree_ = std::make_unique<SlotTree>(slots_, ranks_, b.pending_shard, pending_.as<float>());
  const MemoryScope scope(MemoryClass::kCommunication);
  slot_losses_.assign(index(rounds_), 0.0);
}

std::byte* ZeroEngine::working_at(runtime::TransportBuffer& buffer, std::int64_t element) const {
  return reinterpret_cast<std::byte*>(buffer.data()) + element * element_bytes(buffers_.types.working);
}

std::byte* ZeroEngine::reduced_at(float* buffer, std::int64_t element) const {
  return reinterpret_cast<std::byte*>(buffer) + element * element_bytes(buffers_.types.reduced);
}

std::byte* ZeroEngine::parameter_shard(std::int64_t unit) const {
  if (buffers_.parameters_on_host) return nullptr;
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  return working_at(*parameters_, policy_.shard_parameters ? u.shard_offset : u.offset + rank_ * u.shard);
}

std::byte* ZeroEngine::reduced_gradient(std::int64_t unit) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  if (policy_.shard_gradients) return reduced_at(shard_gradients_.as<float>(), u.shard_offset);
  return reduced_at(gradients_->data(), u.offset + rank_ * u.shard);
}

void ZeroEngine::begin_step() {
  streams_.communication->drain();  // of a step that was given up
  round_ = 0;
  std::fill(slot_losses_.begin(), slot_losses_.end(), 0.0);
  if (device_losses_.bytes() > 0) device_.compute().clear(device_losses_.data(), device_losses_.bytes());
  if (pool_) pool_->begin_step(rounds_);
}

void ZeroEngine::accumulate(model::Transformer& model, const data::Batch* batch, std::uint64_t step_key, double gradient_scale,
                            double label_smoothing) {
  ensure(round_ < rounds_, "ZeroEngine: more rounds than the step has");
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  idle_ = batch == nullptr || batch->sentences == 0;
  if (!idle_) {
    const auto slot = static_cast<std::uint64_t>(round_ * ranks_ + rank_);
    double* losses = device_.is_host() ? slot_losses_.data() : device_losses_.as<double>();
    model.train_slot(*this, *batch, hash_pair(step_key, slot), gradient_scale, label_smoothing, losses + round_);
  } else {
    model.idle_slot(*this);
  }
  ++round_;
}

double ZeroEngine::gradient_norm() {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);
  std::vector<double> mine(index(buffers_.shard_blocks)), all(mine.size() * index(ranks_));
  double* sums = device_.is_host() ? mine.data() : block_sums_.as<double>();
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    streams_.compute->touch(
        "norm", {runtime::reads(reduced_gradient(static_cast<std::int64_t>(u)), unit.shard * element_bytes(buffers_.types.reduced))});
    device_.block_square_sums(reduced_gradient(static_cast<std::int64_t>(u)), element_type(buffers_.types.reduced), unit.shard / FlatLayout::kBlock,
                              sums + unit.shard_offset / FlatLayout::kBlock);
  }
  runtime::copy_now(device_, mine.data(), sums, buffers_.shard_blocks * static_cast<std::int64_t>(sizeof(double)));
  collectives_.all_gather_doubles(mine, all);
  double sum = 0;
  for (const FlatLayout::Unit& unit : layout_.units()) {
    for (std::int64_t r = 0; r < ranks_; ++r) {
      const double* blocks = all.data() + index(r) * mine.size() + unit.shard_offset / FlatLayout::kBlock;
      for (std::int64_t b = 0; b < unit.shard / FlatLayout::kBlock; ++b) sum += blocks[b];
    }
  }
  return std::sqrt(sum);
}

std::string ZeroEngine::first_not_finite() {
  constexpr std::int64_t kNone = std::int64_t{1} << 62;
  std::int64_t found = kNone;  // tensor, in the layout's order
  for (const FlatLayout::Piece& piece : layout_.pieces(rank_)) {
    const std::int64_t unit = layout_.tensors()[index(piece.tensor)].unit;
    const std::int64_t at = piece.shard_offset - layout_.units()[index(unit)].shard_offset;
    model::with_element(model::scalar_type(buffers_.types.reduced), [&](auto element) {
      constexpr std::int64_t kChunk = 2048;
      std::array<decltype(element), kChunk> values;
      const auto* gradients = reinterpret_cast<const decltype(element)*>(reduced_gradient(unit)) + at;
      for (std::int64_t i = 0; i < piece.count; i += kChunk) {
        const std::int64_t n = std::min(kChunk, piece.count - i);
        runtime::copy_now(device_, values.data(), gradients + i, n * static_cast<std::int64_t>(sizeof(element)));
        const bool finite = std::all_of(values.begin(), values.begin() + n, [](auto g) { return std::isfinite(to_float(g)); });
        if (!finite) found = std::min(found, piece.tensor);
      }
    });
  }
  const std::int64_t first = -collectives_.maximum(-found);
  return first == kNone ? std::string("the gradient's norm") : layout_.tensors()[index(first)].spec.name;
}

StateStore::Slice ZeroEngine::slice_of(std::int64_t unit) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  if (policy_.shard_optimizer) return {unit, 0, u.shard, reduced_gradient(unit), parameter_shard(unit)};
  return {unit, 0, u.padded, reduced_at(gradients_->data(), u.offset), working_at(*parameters_, u.offset)};
}

StateStore::Slice ZeroEngine::my_shard(std::int64_t unit) const {
  const std::int64_t shard = layout_.units()[index(unit)].shard;
  return {unit, policy_.shard_optimizer ? 0 : rank_ * shard, shard, nullptr, parameter_shard(unit)};
}

StepResult ZeroEngine::step(const StepRequest& request) {
  ensure(round_ == rounds_, "ZeroEngine: step() before the last round");
  streams_.communication->drain();
  StepResult result;
  if (device_losses_.bytes() > 0) runtime::copy_now(device_, slot_losses_.data(), device_losses_.data(), device_losses_.bytes());
  std::vector<double> all(slot_losses_.size() * index(ranks_));
  collectives_.all_gather_doubles(slot_losses_, all);
  for (std::int64_t s = 0; s < slots_; ++s) result.loss_sum += all[index(s % ranks_ * rounds_ + s / ranks_)];
  result.grad_norm = gradient_norm() / request.loss_scale;
  if (!std::isfinite(result.grad_norm)) result.not_finite = first_not_finite();
  if (!std::isfinite(result.loss_sum) || !std::isfinite(result.grad_norm)) return result;
  const double clip = config_.train.gradient_clip;
  OptimizerStep update{config_.optimizer, request.lr, 1.0, request.optimizer_step};
  if (clip > 0) update.gradient_factor = std::min(1.0, clip / (result.grad_norm + 1e-6));
  update.gradient_factor /= request.loss_scale;
  const runtime::UpdateFactors factors = update_factors(update);
  if (updates_own_part()) {
    streams_.compute->enqueue("announce", [this] {
      for (std::size_t u = 0; u < layout_.units().size(); ++u) store_->announce(slice_of(static_cast<std::int64_t>(u)));
    }, {});
  }
  for (std::size_t u = 0; u < layout_.units().size(); ++u) update_unit(static_cast<std::int64_t>(u), factors);
  streams_.communication->drain();
  if (pool_) pool_->updated();
  return result;
}

void ZeroEngine::update_unit(std::int64_t unit, const runtime::UpdateFactors& factors) {
  if (updates_own_part()) return update_shard(unit, factors);
  update_whole(unit, factors);  // everything is updated here, and each rank has the sum of its own shard
}

void ZeroEngine::update_shard(std::int64_t number, const runtime::UpdateFactors& factors) {
  runtime::Stream& compute = *streams_.compute;
  runtime::Stream& communication = *streams_.communication;
  const StateStore::Slice slice = slice_of(number);
  const runtime::Access mine =
      policy_.shard_optimizer ? shard_of(number, runtime::Access::Kind::kWrite) : parameters_of(number, runtime::Access::Kind::kWrite);
  compute.enqueue("update",
                  [this, number, factors] {
                    const runtime::FlightRecord::Scope scope(flight_, runtime::FlightRecord::What::kUpdate,
                                                             runtime::FlightRecord::On::kCompute, number);
                    store_->update_next(factors);
                  },
                  {runtime::reads(slice.gradients, slice.count * element_bytes(buffers_.types.reduced)), mine});
  if (policy_.shard_parameters || !policy_.shard_optimizer) return;
  communication.wait(compute.record());
  communication.enqueue("gather",
                        [this, number] {
                          const runtime::FlightRecord::Scope scope(flight_, runtime::FlightRecord::What::kGather,
                                                                   runtime::FlightRecord::On::kCommunication, number);
                          gather_parameters(number, reinterpret_cast<float*>(working_at(*parameters_, layout_.units()[index(number)].offset)));
                        },
                        {parameters_of(number, runtime::Access::Kind::kWrite)});
}

void ZeroEngine::update_whole(std::int64_t number, const runtime::UpdateFactors& factors) {
  const BufferTypes& types = buffers_.types;
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  runtime::Stream& compute = *streams_.compute;
  runtime::Stream& communication = *streams_.communication;
  const runtime::Access gradient{runtime::Access::Kind::kRead, reduced_at(gradients_->data(), unit.offset),
                                 unit.padded * element_bytes(types.reduced)};
  const auto shards = std::make_shared<std::vector<const float*>>();
  communication.wait(compute.record());
  communication.enqueue("gather",
                        [this, number, shards] {
                          const runtime::FlightRecord::Scope scope(flight_, runtime::FlightRecord::What::kGather,
                                                                   runtime::FlightRecord::On::kCommunication, number);
                          const FlatLayout::Unit& u = layout_.units()[index(number)];
                          *shards = collectives_.shards(*gradients_, words(u.offset, buffers_.types.reduced),
                                                        words(u.shard, buffers_.types.reduced));
                        },
                        {runtime::writes(gradient.begin, gradient.bytes)});
  compute.wait(communication.record());
  compute.enqueue("update",
                  [this, number, shards, factors] {
                    const runtime::FlightRecord::Scope scope(flight_, runtime::FlightRecord::What::kUpdate,
                                                             runtime::FlightRecord::On::kCompute, number);
                    const FlatLayout::Unit& u = layout_.units()[index(number)];
                    for (std::int64_t r = 0; r < ranks_; ++r) {
                      store_->announce({number, r * u.shard, u.shard, (*shards)[index(r)], working_at(*parameters_, u.offset + r * u.shard)});
                    }
                    for (std::int64_t r = 0; r < ranks_; ++r) store_->update_next(factors);
                  },
                  {gradient, parameters_of(number, runtime::Access::Kind::kWrite)});
  communication.wait(compute.record());
  // From here on the owners may write again what was read here.
  communication.enqueue("end of a gather", [this] { collectives_.finish_exchange(); }, {runtime::writes(gradient.begin, gradient.bytes)});
}

}  // namespace th::zero
