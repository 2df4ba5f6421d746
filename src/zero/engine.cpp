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

ZeroEngine::ZeroEngine(const config::RunConfig& config, const model::Transformer& model, runtime::Collectives& collectives, std::int64_t slots)
    : config_(config), collectives_(collectives), policy_(zero_policy(config.zero.stage)), layout_(model.units(), collectives.size()), slots_(slots),
      rounds_((slots + collectives.size() - 1) / collectives.size()), rank_(collectives.rank()), ranks_(collectives.size()),
      buffers_(engine_buffers(config_, layout_, model.long_lived(), slots)) {
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

float* ZeroEngine::unit_gradient(std::int64_t unit) const {
  if (buffers_.types.short_gradients()) return unit_gradients_.data_ptr<float>() + buffers_.gather_offset[index(unit)];
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
    const config::Precision type = buffers_.types.working;
    std::byte* values = nullptr;
    if (policy_.shard_parameters) {
      values = static_cast<std::byte*>(gather_.data_ptr()) + buffers_.gather_offset[index(unit)] * element_bytes(type);
      collectives_.all_gather(*parameters_, words(u.shard_offset, type), 0, words(u.shard, type), reinterpret_cast<float*>(values));
    } else {
      values = working_at(*parameters_, u.offset);
    }
    tensors_[index(unit)] = views(unit, values, unit_gradient(unit));
  }
  return tensors_[index(unit)];
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
  std::int64_t done = 0;  // zeroed, or to be written by one product
  for (std::int64_t t = u.first_tensor; t < u.first_tensor + u.tensor_count && !idle_; ++t) {
    const FlatLayout::Tensor& tensor = layout_.tensors()[index(t)];
    if (!tensor.spec.one_product) continue;
    std::memset(gradients + done, 0, index(tensor.offset - done) * sizeof(float));
    done = tensor.offset + tensor.count;
  }
  std::memset(gradients + done, 0, index(u.padded - done) * sizeof(float));
}

void ZeroEngine::close_backward(std::int64_t unit) {
  close_forward(unit);
  if (buffers_.types.short_gradients()) {
    round_elements(unit_gradient(unit), buffers_.types.reduced, reduced_at(gradients_->data(), buffers_.gradient_offset[index(unit)]),
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
    for (std::int64_t i = 0; i < u.shard; ++i) out[i] = round_ == 0 ? mine[i] : out[i] + mine[i];
    return;
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
    tree_->add<T>(first, leaves, u.shard_offset, u.shard, reinterpret_cast<T*>(reduced_gradient(unit)));
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
  std::vector<double> mine(index(layout_.shard_total() / FlatLayout::kBlock)), all(mine.size() * index(ranks_));
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
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
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    update_unit(static_cast<std::int64_t>(u), update);
    if (policy_.shard_parameters || !policy_.shard_optimizer) continue;
    const std::int64_t offset = words(unit.offset, buffers_.types.working);
    const std::int64_t shard = words(unit.shard, buffers_.types.working);
    collectives_.all_gather(*parameters_, offset, shard, shard, parameters_->data() + offset);
  }
  return result;
}

void ZeroEngine::update_unit(std::int64_t number, const OptimizerStep& update) {
  const BufferTypes& types = buffers_.types;
  const OptimizerSlice slice = slice_of(number);
  if (policy_.shard_optimizer || config_.comm.reduction == config::Reduction::kFast) return apply_optimizer(update, slice, types.reduced, types.working);
  // Everything is updated here, and each rank has the sum of its own shard.
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  const std::vector<const float*> shards = collectives_.shards(*gradients_, words(unit.offset, types.reduced), words(unit.shard, types.reduced));
  for (std::int64_t r = 0; r < ranks_; ++r) apply_optimizer(update, slice.part(r * unit.shard, unit.shard, shards[index(r)], types.working), types.reduced, types.working);
  collectives_.finish_exchange();
}

}  // namespace th::zero
