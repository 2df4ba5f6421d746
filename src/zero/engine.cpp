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

using runtime::FlightRecord;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

ZeroEngine::ZeroEngine(const config::RunConfig& config, const model::Transformer& model, runtime::Collectives& collectives, std::int64_t slots,
                       runtime::Device* device)
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
      compute_(device_.compute()),
      own_communication_(config.comm.overlap == config::Overlap::kOn ? device_.make_stream(runtime::StreamUse::kCommunication) : nullptr),
      own_copies_(own_communication_ && buffers_.parameters_on_host ? device_.make_stream(runtime::StreamUse::kCopies) : nullptr),
      communication_(own_communication_ ? *own_communication_ : compute_),
      copies_(own_copies_ ? *own_copies_ : communication_) {
  ensure(slots >= ranks_, "fewer slots than ranks");
  collectives_.use_stream(&communication_);
  allocate();
  lay_out_places();
  initialise(config.run.seed);
}

ZeroEngine::~ZeroEngine() {
  try {
    compute_.drain();  // its tasks use what goes
  } catch (const Error&) {  // the error that ended the run was reported
  }
  own_copies_.reset();
  own_communication_.reset();
  collectives_.use_stream(nullptr);
}

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
  for (std::int64_t i = 0; i < b.gather_sources; ++i) gather_sources_.push_back({buffer(MemoryClass::kGatherSlots, b.gather_source, types.working), {}});
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
  compute_.drain();  // zeros come by both
  communication_.drain();
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
  communication_.run_bodies();  // of a step that was given up
  device_.settle();
  round_ = 0;
  std::fill(slot_losses_.begin(), slot_losses_.end(), 0.0);
  if (device_losses_.bytes() > 0) compute_.clear(device_losses_.data(), device_losses_.bytes());
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
  device_.settle();
}

double ZeroEngine::gradient_norm() {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);
  std::vector<double> mine(index(buffers_.shard_blocks)), all(mine.size() * index(ranks_));
  double* sums = device_.is_host() ? mine.data() : block_sums_.as<double>();
  const config::Precision reduced = buffers_.types.reduced;
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    const std::int64_t blocks = unit.shard / FlatLayout::kBlock;
    const std::byte* gradient = reduced_gradient(static_cast<std::int64_t>(u));
    double* out = sums + unit.shard_offset / FlatLayout::kBlock;
    compute_.enqueue("norm", [=, this] { device_.block_square_sums(compute_, gradient, element_type(reduced), blocks, out); },
                     {runtime::reads(gradient, unit.shard * element_bytes(reduced)),
                      runtime::writes(out, blocks * static_cast<std::int64_t>(sizeof(double)))});
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
  compute_.wait(communication_.record());
  communication_.run_bodies();
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
  const auto units = static_cast<std::int64_t>(layout_.units().size());
  for (std::int64_t u = 0; u < units && updates_own_part(); ++u) store_->announce(slice_of(u));
  for (std::int64_t u = 0; u < units; ++u) update_unit(u, factors);
  communication_.run_bodies();
  if (pool_) pool_->updated();
  return result;
}

void ZeroEngine::update_unit(std::int64_t unit, const runtime::UpdateFactors& factors) {
  if (updates_own_part()) return update_shard(unit, factors);
  update_whole(unit, factors);  // everything is updated here, and each rank has the sum of its own shard
}

void ZeroEngine::update_shard(std::int64_t unit, const runtime::UpdateFactors& factors) {
  {
    const FlightRecord::Scope scope(flight_, store_->updating(), FlightRecord::What::kUpdate, FlightRecord::On::kCompute, unit);
    store_->update_next(factors);
  }
  updated_[index(unit)] = whole_[index(unit)] = store_->updated();
  if (policy_.shard_parameters || !policy_.shard_optimizer) return;
  gather_unit(unit, working_at(*parameters_, layout_.units()[index(unit)].offset));
  whole_[index(unit)] = communication_.record();
}

void ZeroEngine::update_whole(std::int64_t number, const runtime::UpdateFactors& factors) {
  const config::Precision reduced = buffers_.types.reduced;
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  const runtime::Access gradient = runtime::writes(reduced_at(gradients_->data(), unit.offset), unit.padded * element_bytes(reduced));
  const auto shards = std::make_shared<std::vector<const float*>>();
  communication_.wait(compute_.record());
  communication_.enqueue("gather",
                         [this, number, shards, offset = words(unit.offset, reduced), shard = words(unit.shard, reduced)] {
                           const FlightRecord::Scope scope(flight_, communication_, FlightRecord::What::kGather,
                                                           FlightRecord::On::kCommunication, number);
                           *shards = collectives_.shards(*gradients_, offset, shard);
                         },
                         {gradient});
  compute_.wait(communication_.record());
  communication_.run_bodies();
  for (std::int64_t r = 0; r < ranks_; ++r) {
    store_->announce({number, r * unit.shard, unit.shard, (*shards)[index(r)], working_at(*parameters_, unit.offset + r * unit.shard)});
  }
  {
    const FlightRecord::Scope scope(flight_, store_->updating(), FlightRecord::What::kUpdate, FlightRecord::On::kCompute, number);
    for (std::int64_t r = 0; r < ranks_; ++r) store_->update_next(factors);
  }
  updated_[index(number)] = whole_[index(number)] = store_->updated();
  communication_.wait(store_->updating().record());
  // From here on the owners may write again what was read here.
  communication_.enqueue("end of a gather", [this] { collectives_.finish_exchange(); }, {gradient});
  gradient_free_[gradient_place_[index(number)]] = communication_.record();
}

}  // namespace th::zero
