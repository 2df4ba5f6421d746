#include "th/zero/engine.hpp"

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/model/element.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace th::zero {

namespace {

at::Tensor zeros(std::int64_t elements, config::Precision type = config::Precision::kFp32) {
  return at::zeros({elements}, at::TensorOptions().dtype(model::scalar_type(type)));
}

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

ZeroEngine::ZeroEngine(const config::RunConfig& config, const model::Transformer& model, runtime::Collectives& collectives,
                       std::int64_t slots)
    : ZeroEngine(config, model, collectives, slots,
                 config.comm.overlap == config::Overlap::kOn ? runtime::threaded_streams() : runtime::inline_streams()) {}

ZeroEngine::ZeroEngine(const config::RunConfig& config, const model::Transformer& model, runtime::Collectives& collectives,
                       std::int64_t slots, runtime::Streams streams)
    : config_(config),
      collectives_(collectives),
      policy_(zero_policy(config.zero.stage)),
      layout_(model.units(), collectives.size()),
      slots_(slots),
      rounds_((slots + collectives.size() - 1) / collectives.size()),
      rank_(collectives.rank()),
      ranks_(collectives.size()),
      use_(unit_use(model)),
      buffers_(engine_buffers(config_, layout_, use_, slots)),
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
  {
    const MemoryScope scope(MemoryClass::kParameters);
    parameters_ = collectives_.allocate(words(b.parameters, types.working));
  }
  if (b.masters > 0) {
    const MemoryScope scope(MemoryClass::kMaster);
    masters_ = zeros(b.masters);
  }
  if (b.gather_slots > 0) {
    const MemoryScope scope(MemoryClass::kGatherSlots);
    gather_ = zeros(b.gather_slots, types.working);
  }
  {
    // The buffer that travels is the whole gradient, or the unreduced one of the units in flight.
    const MemoryScope scope(policy_.shard_gradients ? MemoryClass::kCommunication : MemoryClass::kGradients);
    const std::int64_t in_flight = types.short_gradients() ? b.travel : b.unit_gradients;
    gradients_ = collectives_.allocate(words(policy_.shard_gradients ? in_flight : b.gradients, types.reduced));
  }
  if (types.short_gradients()) {
    const MemoryScope scope(MemoryClass::kCommunication);
    unit_gradients_ = zeros(b.unit_gradients);
  }
  if (policy_.shard_gradients) {
    const MemoryScope scope(MemoryClass::kGradients);
    shard_gradients_ = zeros(b.gradients, types.reduced);
  }
  if (b.moments > 0) {
    const MemoryScope first(MemoryClass::kExpAvg);
    exp_avg_ = zeros(b.moments);
    const MemoryScope second(MemoryClass::kExpAvgSq);
    exp_avg_sq_ = zeros(b.moments);
  }
  const MemoryScope scope(MemoryClass::kCommunication);
  tree_ = std::make_unique<SlotTree>(slots_, ranks_, b.pending_shard);
  slot_losses_.assign(index(rounds_), 0.0);
}

std::byte* ZeroEngine::working_at(runtime::TransportBuffer& buffer, std::int64_t element) const {
  return reinterpret_cast<std::byte*>(buffer.data()) + element * element_bytes(buffers_.types.working);
}

std::byte* ZeroEngine::reduced_at(float* buffer, std::int64_t element) const {
  return reinterpret_cast<std::byte*>(buffer) + element * element_bytes(buffers_.types.reduced);
}

std::byte* ZeroEngine::parameter_shard(std::int64_t unit) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  return working_at(*parameters_, policy_.shard_parameters ? u.shard_offset : u.offset + rank_ * u.shard);
}

float* ZeroEngine::master_shard(std::int64_t unit) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  if (!buffers_.types.masters()) return reinterpret_cast<float*>(parameter_shard(unit));
  return masters_.data_ptr<float>() + (policy_.shard_optimizer ? u.shard_offset : u.offset + rank_ * u.shard);
}

std::byte* ZeroEngine::reduced_gradient(std::int64_t unit) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  if (policy_.shard_gradients) return reduced_at(static_cast<float*>(shard_gradients_.data_ptr()), u.shard_offset);
  return reduced_at(gradients_->data(), u.offset + rank_ * u.shard);
}

void ZeroEngine::begin_step() {
  streams_.communication->drain();  // of a step that was given up
  round_ = 0;
  if (pool_) pool_->begin_step(rounds_);
}

void ZeroEngine::accumulate(model::Transformer& model, const data::Batch* batch, std::uint64_t step_key, double gradient_scale,
                            double label_smoothing) {
  ensure(round_ < rounds_, "ZeroEngine: more rounds than the step has");
  double loss = 0;
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  idle_ = batch == nullptr || batch->sentences == 0;
  if (!idle_) {
    const auto slot = static_cast<std::uint64_t>(round_ * ranks_ + rank_);
    loss = model.train_slot(*this, *batch, hash_pair(step_key, slot), gradient_scale, label_smoothing).loss_sum;
  } else {
    model.idle_slot(*this);
  }
  slot_losses_[index(round_)] = loss;
  ++round_;
}

double ZeroEngine::gradient_norm() {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);
  std::vector<double> mine(index(layout_.shard_total() / FlatLayout::kBlock)), all(mine.size() * index(ranks_));
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    streams_.compute->touch(
        "norm", {runtime::reads(reduced_gradient(static_cast<std::int64_t>(u)), unit.shard * element_bytes(buffers_.types.reduced))});
    block_square_sums(reduced_gradient(static_cast<std::int64_t>(u)), buffers_.types.reduced, unit.shard / FlatLayout::kBlock,
                      mine.data() + unit.shard_offset / FlatLayout::kBlock);
  }
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
      const auto* gradients = reinterpret_cast<const decltype(element)*>(reduced_gradient(unit)) + at;
      const bool finite = std::all_of(gradients, gradients + piece.count, [](auto g) { return std::isfinite(to_float(g)); });
      if (!finite) found = std::min(found, piece.tensor);
    });
  }
  const std::int64_t first = -collectives_.maximum(-found);
  return first == kNone ? std::string("the gradient's norm") : layout_.tensors()[index(first)].spec.name;
}

OptimizerSlice ZeroEngine::slice_of(std::int64_t unit) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  const bool sharded = policy_.shard_optimizer;
  OptimizerSlice slice;
  slice.count = sharded ? u.shard : u.padded;
  slice.masters = sharded ? master_shard(unit) : master_shard(unit) - rank_ * u.shard;
  slice.gradients = sharded ? reduced_gradient(unit) : reduced_at(gradients_->data(), u.offset);
  if (buffers_.types.masters()) slice.working = sharded ? parameter_shard(unit) : working_at(*parameters_, u.offset);
  if (has_moments()) {
    const std::int64_t at = sharded ? u.shard_offset : u.offset;
    slice.exp_avg = exp_avg_.data_ptr<float>() + at;
    slice.exp_avg_sq = exp_avg_sq_.data_ptr<float>() + at;
  }
  return slice;
}

StepResult ZeroEngine::step(const StepRequest& request) {
  ensure(round_ == rounds_, "ZeroEngine: step() before the last round");
  streams_.communication->drain();
  StepResult result;
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
  for (std::size_t u = 0; u < layout_.units().size(); ++u) update_unit(static_cast<std::int64_t>(u), update);
  streams_.communication->drain();
  if (pool_) pool_->updated();
  return result;
}

void ZeroEngine::update_unit(std::int64_t unit, const OptimizerStep& update) {
  // Without sharding everything is updated here, and with an exact sum each rank has that of its own shard.
  if (!policy_.shard_optimizer && config_.comm.reduction == config::Reduction::kExact) return update_whole(unit, update);
  update_shard(unit, update);
}

void ZeroEngine::update_shard(std::int64_t number, const OptimizerStep& update) {
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  const config::Precision type = buffers_.types.working;
  runtime::Stream& compute = *streams_.compute;
  runtime::Stream& communication = *streams_.communication;
  const OptimizerSlice slice = slice_of(number);
  const runtime::Access mine = policy_.shard_optimizer ? runtime::writes(parameter_shard(number), unit.shard * element_bytes(type))
                                                       : parameters_of(number, runtime::Access::Kind::kWrite);
  compute.enqueue("update",
                  [this, number, update, slice] {
                    const runtime::FlightRecord::Scope scope(flight_, runtime::FlightRecord::What::kUpdate,
                                                             runtime::FlightRecord::On::kCompute, number);
                    apply_optimizer(update, slice, buffers_.types.reduced, buffers_.types.working);
                  },
                  {runtime::reads(slice.gradients, slice.count * element_bytes(buffers_.types.reduced)), mine});
  if (policy_.shard_parameters || !policy_.shard_optimizer) return;
  communication.wait(compute.record());
  communication.enqueue("gather",
                        [this, number] {
                          const runtime::FlightRecord::Scope scope(flight_, runtime::FlightRecord::What::kGather,
                                                                   runtime::FlightRecord::On::kCommunication, number);
                          const FlatLayout::Unit& u = layout_.units()[index(number)];
                          const std::int64_t offset = words(u.offset, buffers_.types.working),
                                             shard = words(u.shard, buffers_.types.working);
                          collectives_.all_gather(*parameters_, offset, shard, shard, parameters_->data() + offset);
                        },
                        {parameters_of(number, runtime::Access::Kind::kWrite)});
}

void ZeroEngine::update_whole(std::int64_t number, const OptimizerStep& update) {
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
                  [this, number, shards, update, slice = slice_of(number)] {
                    const runtime::FlightRecord::Scope scope(flight_, runtime::FlightRecord::What::kUpdate,
                                                             runtime::FlightRecord::On::kCompute, number);
                    const std::int64_t shard = layout_.units()[index(number)].shard;
                    const config::Precision working = buffers_.types.working;
                    for (std::int64_t r = 0; r < ranks_; ++r)
                      apply_optimizer(update, slice.part(r * shard, shard, (*shards)[index(r)], working), buffers_.types.reduced, working);
                  },
                  {gradient, parameters_of(number, runtime::Access::Kind::kWrite)});
  communication.wait(compute.record());
  // From here on the owners may write again what was read here.
  communication.enqueue("end of a gather", [this] { collectives_.finish_exchange(); }, {runtime::writes(gradient.begin, gradient.bytes)});
}

}  // namespace th::zero
