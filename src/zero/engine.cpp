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
    : config_(config), collectives_(collectives), host_(device == nullptr ? std::make_unique<HostDevice>() : nullptr),
      device_(device == nullptr ? *host_ : *device), policy_(zero_policy(config.zero.stage)), layout_(model.units(), collectives.size()), slots_(slots),
      rounds_((slots + collectives.size() - 1) / collectives.size()), rank_(collectives.rank()), ranks_(collectives.size()),
      buffers_(engine_buffers(config_, layout_, model.long_lived(), slots, device_.is_host() ? DeviceMemory::kHost : DeviceMemory::kOwn)) {
  ensure(slots >= ranks_, "fewer slots than ranks");
  allocate();
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

float* ZeroEngine::unit_gradient(std::int64_t unit) const {
  if (buffers_.types.short_gradients()) return unit_gradients_.as<float>() + buffers_.gather_offset[index(unit)];
  return gradients_->data() + buffers_.gradient_offset[index(unit)];
}

model::UnitTensors ZeroEngine::views(std::int64_t unit, std::byte* values, float* gradients) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  model::UnitTensors out;
  const at::TensorOptions working = at::TensorOptions().dtype(model::scalar_type(buffers_.types.working));
  const at::TensorOptions fp32 = at::TensorOptions().dtype(at::kFloat);
  for (std::int64_t t = u.first_tensor; t < u.first_tensor + u.tensor_count; ++t) {
    const FlatLayout::Tensor& tensor = layout_.tensors()[index(t)];
    out.values.push_back(at::from_blob(values + tensor.offset * element_bytes(buffers_.types.working), tensor.spec.shape, working));
    out.gradients.push_back(at::from_blob(gradients + tensor.offset, tensor.spec.shape, fp32));
  }
  return out;
}

const model::UnitTensors& ZeroEngine::open_forward(std::int64_t unit) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  if (open_[index(unit)]++ == 0) {
    std::byte* values = nullptr;
    if (policy_.shard_parameters) {
      values = gather_.data() + buffers_.gather_offset[index(unit)] * element_bytes(buffers_.types.working);
      gather_parameters(unit, reinterpret_cast<float*>(values));
    } else {
      values = working_at(*parameters_, u.offset);
    }
    tensors_[index(unit)] = views(unit, values, unit_gradient(unit));
  }
  return tensors_[index(unit)];
}

void ZeroEngine::gather_parameters(std::int64_t number, float* full) {
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  const config::Precision type = buffers_.types.working;
  const std::int64_t shard = words(unit.shard, type);
  if (const std::byte* kept = store_->parameters(number); kept != nullptr) {
    device_.compute().copy(gather_source_->data(), kept, unit.shard * element_bytes(type));
    return collectives_.all_gather(*gather_source_, 0, 0, shard, full);
  }
  const bool sharded = policy_.shard_parameters;
  collectives_.all_gather(*parameters_, words(sharded ? unit.shard_offset : unit.offset, type), sharded ? 0 : shard, shard, full);
}

void ZeroEngine::close_forward(std::int64_t unit) {
  ensure(open_[index(unit)] > 0, "ZeroEngine: a unit was closed that was not open");
  --open_[index(unit)];
}

model::UnitTensors& ZeroEngine::open_backward(std::int64_t unit) {
  open_forward(unit);
  const bool keep = config_.comm.reduction == config::Reduction::kFast && !policy_.shard_gradients && round_ > 0;
  model::UnitTensors& tensors = tensors_[index(unit)];
  tensors.product_gradients = keep || idle_ ? model::Write::kAdd : model::Write::kSet;
  if (!keep) zero_gradients(unit);
  return tensors;
}

void ZeroEngine::zero_gradients(std::int64_t unit) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  float* gradients = unit_gradient(unit);
  const auto clear = [&](std::int64_t begin, std::int64_t end) {
    device_.compute().clear(gradients + begin, (end - begin) * static_cast<std::int64_t>(sizeof(float)));
  };
  std::int64_t done = 0;  // zeroed, or to be written by one product
  for (std::int64_t t = u.first_tensor; t < u.first_tensor + u.tensor_count && !idle_; ++t) {
    const FlatLayout::Tensor& tensor = layout_.tensors()[index(t)];
    if (!tensor.spec.one_product) continue;
    clear(done, tensor.offset);
    done = tensor.offset + tensor.count;
  }
  clear(done, u.padded);
}

void ZeroEngine::close_backward(std::int64_t unit) {
  close_forward(unit);
  if (buffers_.types.short_gradients()) {
    device_.round(unit_gradient(unit), element_type(buffers_.types.reduced), reduced_at(gradients_->data(), buffers_.gradient_offset[index(unit)]),
                  layout_.units()[index(unit)].padded);
  }
  if (policy_.shard_gradients) reduce_unit(unit);
}

void ZeroEngine::reduce_unit(std::int64_t unit) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  const std::int64_t offset = buffers_.gradient_offset[index(unit)];
  if (config_.comm.reduction == config::Reduction::kFast) {
    ensure(!buffers_.types.short_gradients(), "comm.reduction=fast sums fp32 alone");
    float* full = gradients_->data() + offset;
    collectives_.all_reduce_fast(full, u.padded);
    if (!policy_.shard_gradients) return;
    auto* out = reinterpret_cast<float*>(reduced_gradient(unit));
    const float* mine = full + rank_ * u.shard;
    if (round_ == 0) return device_.compute().copy(out, mine, u.shard * static_cast<std::int64_t>(sizeof(float)));
    return device_.accumulate(out, mine, u.shard);
  }
  const config::Precision type = buffers_.types.reduced;
  const std::int64_t first = round_ * ranks_;
  model::with_element(model::scalar_type(type), [&](auto element) {
    using T = decltype(element);
    const auto add = [&](std::span<const float* const> slices, float* out) {
      std::vector<const T*> pieces;
      for (const float* slice : slices) pieces.push_back(reinterpret_cast<const T*>(slice));
      SlotTree::subtree_sum<T>(pieces, u.shard, out);
    };
    const runtime::SubtreeSum sum{first, static_cast<int>(std::min(ranks_, slots_ - first)), u.shard, add};
    std::vector<SlotTree::Leaf> leaves;
    for (const runtime::Contribution& one : collectives_.exchange_sums(*gradients_, words(offset, type), words(u.shard, type), sum)) {
      leaves.push_back({one.data, one.ranks});
    }
    device_.tree_sum(tree_->plan(first, leaves, u.shard_offset, u.shard, element_type(type), reduced_gradient(unit)));
  });
  collectives_.finish_exchange();
}

void ZeroEngine::begin_step() { round_ = 0; }

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
  const bool last = round_ + 1 == rounds_;
  if (!policy_.shard_gradients && (config_.comm.reduction == config::Reduction::kExact || last)) {
    for (std::size_t u = 0; u < layout_.units().size(); ++u) reduce_unit(static_cast<std::int64_t>(u));
  }
  ++round_;
}

double ZeroEngine::gradient_norm() {
  const runtime::MemoryScope scope(runtime::MemoryClass::kCommunication);
  std::vector<double> mine(index(buffers_.shard_blocks)), all(mine.size() * index(ranks_));
  double* sums = device_.is_host() ? mine.data() : block_sums_.as<double>();
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
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
  const runtime::UpdateFactors factors = update_factors(update);
  for (std::size_t u = 0; updates_own_part() && u < layout_.units().size(); ++u) store_->announce(slice_of(static_cast<std::int64_t>(u)));
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    update_unit(static_cast<std::int64_t>(u), factors);
    if (policy_.shard_parameters || !policy_.shard_optimizer) continue;
    const std::int64_t offset = words(unit.offset, buffers_.types.working);
    const std::int64_t shard = words(unit.shard, buffers_.types.working);
    collectives_.all_gather(*parameters_, offset, shard, shard, parameters_->data() + offset);
  }
  return result;
}

void ZeroEngine::update_unit(std::int64_t number, const runtime::UpdateFactors& factors) {
  if (updates_own_part()) return store_->update_next(factors);
  // Everything is updated here, and each rank has the sum of its own shard.
  const BufferTypes& types = buffers_.types;
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  const std::vector<const float*> shards = collectives_.shards(*gradients_, words(unit.offset, types.reduced), words(unit.shard, types.reduced));
  for (std::int64_t r = 0; r < ranks_; ++r) {
    store_->announce({number, r * unit.shard, unit.shard, shards[index(r)], working_at(*parameters_, unit.offset + r * unit.shard)});
  }
  for (std::int64_t r = 0; r < ranks_; ++r) store_->update_next(factors);
  collectives_.finish_exchange();
}

}  // namespace th::zero
