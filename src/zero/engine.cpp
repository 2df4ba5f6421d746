#include "th/zero/engine.hpp"

#include "th/base/error.hpp"
#include "th/base/hash.hpp"
#include "th/zero/resident_source.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace th::zero {

namespace {

at::Tensor zeros(std::int64_t elements) { return at::zeros({elements}, at::TensorOptions().dtype(at::kFloat)); }

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
  {
    const MemoryScope scope(MemoryClass::kParameters);
    parameters_ = collectives_.allocate(b.parameters);
  }
  if (b.gather_slots > 0) {
    const MemoryScope scope(MemoryClass::kGatherSlots);
    gather_ = zeros(b.gather_slots);
  }
  {
    // The buffer that travels is the whole gradient, or the unreduced one of the units in flight.
    const MemoryScope scope(b.unit_gradients > 0 ? MemoryClass::kCommunication : MemoryClass::kGradients);
    gradients_ = collectives_.allocate(b.unit_gradients > 0 ? b.unit_gradients : b.gradients);
  }
  if (b.unit_gradients > 0) {
    const MemoryScope scope(MemoryClass::kGradients);
    shard_gradients_ = zeros(b.gradients);
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

void ZeroEngine::initialise(std::uint64_t seed) {
  for (const FlatLayout::Piece& piece : layout_.pieces(rank_)) {
    const FlatLayout::Tensor& tensor = layout_.tensors()[index(piece.tensor)];
    float* shard = parameter_shard(tensor.unit) - layout_.units()[index(tensor.unit)].shard_offset;
    model::initialize_elements(tensor.spec, seed, config_.model.d_model, piece.tensor_begin, piece.count, shard + piece.shard_offset);
  }
  share_parameters();
}

void ZeroEngine::share_parameters() {
  if (policy_.shard_parameters) return collectives_.barrier();
  for (const FlatLayout::Unit& u : layout_.units()) collectives_.all_gather(*parameters_, u.offset, u.shard, u.shard, parameters_->data() + u.offset);
}

float* ZeroEngine::parameter_shard(std::int64_t unit) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  return parameters_->data() + (policy_.shard_parameters ? u.shard_offset : u.offset + rank_ * u.shard);
}

float* ZeroEngine::reduced_gradient(std::int64_t unit) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  return policy_.shard_gradients ? shard_gradients_.data_ptr<float>() + u.shard_offset : gradients_->data() + u.offset + rank_ * u.shard;
}

model::UnitTensors ZeroEngine::views(std::int64_t unit, float* values, float* gradients) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  model::UnitTensors out;
  const at::TensorOptions options = at::TensorOptions().dtype(at::kFloat);
  for (std::int64_t t = u.first_tensor; t < u.first_tensor + u.tensor_count; ++t) {
    const FlatLayout::Tensor& tensor = layout_.tensors()[index(t)];
    out.values.push_back(at::from_blob(values + tensor.offset, tensor.spec.shape, options));
    if (gradients != nullptr) out.gradients.push_back(at::from_blob(gradients + tensor.offset, tensor.spec.shape, options));
  }
  return out;
}

const model::UnitTensors& ZeroEngine::open_forward(std::int64_t unit) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  if (open_[index(unit)]++ == 0) {
    float* values = nullptr;
    if (policy_.shard_parameters) {
      values = gather_.data_ptr<float>() + buffers_.gather_offset[index(unit)];
      collectives_.all_gather(*parameters_, u.shard_offset, 0, u.shard, values);
    } else {
      values = parameters_->data() + u.offset;
    }
    tensors_[index(unit)] = views(unit, values, gradients_->data() + buffers_.gradient_offset[index(unit)]);
  }
  return tensors_[index(unit)];
}

void ZeroEngine::close_forward(std::int64_t unit) {
  ensure(open_[index(unit)] > 0, "ZeroEngine: a unit was closed that was not open");
  --open_[index(unit)];
}

model::UnitTensors& ZeroEngine::open_backward(std::int64_t unit) {
  open_forward(unit);
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  const bool keep = config_.comm.reduction == config::Reduction::kFast && !policy_.shard_gradients && round_ > 0;
  if (!keep) std::memset(gradients_->data() + buffers_.gradient_offset[index(unit)], 0, index(u.padded) * sizeof(float));
  return tensors_[index(unit)];
}

void ZeroEngine::close_backward(std::int64_t unit) {
  close_forward(unit);
  if (policy_.shard_gradients) reduce_unit(unit);
}

void ZeroEngine::reduce_unit(std::int64_t unit) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  float* out = reduced_gradient(unit);
  const std::int64_t offset = buffers_.gradient_offset[index(unit)];
  if (config_.comm.reduction == config::Reduction::kFast) {
    float* full = gradients_->data() + offset;
    collectives_.all_reduce_fast(full, u.padded);
    if (!policy_.shard_gradients) return;
    const float* mine = full + rank_ * u.shard;
    for (std::int64_t i = 0; i < u.shard; ++i) out[i] = round_ == 0 ? mine[i] : out[i] + mine[i];
    return;
  }
  const std::vector<const float*> pieces = collectives_.exchange(*gradients_, offset, u.shard);
  const std::int64_t first = round_ * ranks_;
  const std::int64_t present = std::min(ranks_, slots_ - first);
  tree_->add(first, std::span(pieces).first(index(present)), u.shard_offset, u.shard, out);
  collectives_.finish_exchange();
}

void ZeroEngine::begin_step() { round_ = 0; }

void ZeroEngine::accumulate(model::Transformer& model, const data::Batch* batch, std::uint64_t step_key, double gradient_scale,
                            double label_smoothing) {
  ensure(round_ < rounds_, "ZeroEngine: more rounds than the step has");
  double loss = 0;
  const runtime::MemoryScope scope(runtime::MemoryClass::kActivations);
  if (batch != nullptr && batch->sentences > 0) {
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
    block_square_sums(reduced_gradient(static_cast<std::int64_t>(u)), unit.shard / FlatLayout::kBlock,
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

std::vector<ZeroEngine::Slice> ZeroEngine::slices() const {
  std::vector<Slice> out;
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    const auto number = static_cast<std::int64_t>(u);
    if (policy_.shard_optimizer) {
      out.push_back({parameter_shard(number), reduced_gradient(number), unit.shard_offset, unit.shard});
    } else {
      out.push_back({parameters_->data() + unit.offset, gradients_->data() + unit.offset, unit.offset, unit.padded});
    }
  }
  return out;
}

void ZeroEngine::gather_updated() {
  if (!policy_.shard_parameters && policy_.shard_optimizer) share_parameters();
}

StepResult ZeroEngine::step(double lr, std::int64_t optimizer_step) {
  ensure(round_ == rounds_, "ZeroEngine: step() before the last round");
  StepResult result;
  std::vector<double> all(slot_losses_.size() * index(ranks_));
  collectives_.all_gather_doubles(slot_losses_, all);
  for (std::int64_t s = 0; s < slots_; ++s) result.loss_sum += all[index(s % ranks_ * rounds_ + s / ranks_)];
  result.grad_norm = gradient_norm();
  if (!std::isfinite(result.loss_sum) || !std::isfinite(result.grad_norm)) return result;
  if (!policy_.shard_optimizer && config_.comm.reduction == config::Reduction::kExact) {
    for (const FlatLayout::Unit& u : layout_.units()) collectives_.all_gather(*gradients_, u.offset, u.shard, u.shard, gradients_->data() + u.offset);
  }
  const double clip = config_.train.gradient_clip;
  OptimizerStep update{config_.optimizer, lr, 1.0, optimizer_step};
  if (clip > 0) update.gradient_factor = std::min(1.0, clip / (result.grad_norm + 1e-6));
  float* first = has_moments() ? exp_avg_.data_ptr<float>() : nullptr;
  float* second = has_moments() ? exp_avg_sq_.data_ptr<float>() : nullptr;
  for (const Slice& s : slices()) {
    apply_optimizer(update, s.parameters, s.gradients, has_moments() ? first + s.moments : nullptr, has_moments() ? second + s.moments : nullptr,
                    s.count);
  }
  gather_updated();
  return result;
}

std::unique_ptr<model::ParameterSource> ZeroEngine::gather_all(const model::Transformer& model) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kGatherSlots);
  const FlatLayout whole(model.units(), 1);
  at::Tensor flat = zeros(whole.padded_total());
  std::vector<float> unit_values(index(layout_.largest_unit()));
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    const bool sharded = policy_.shard_parameters;
    collectives_.all_gather(*parameters_, sharded ? unit.shard_offset : unit.offset, sharded ? 0 : unit.shard, unit.shard, unit_values.data());
    std::memcpy(flat.data_ptr<float>() + whole.units()[u].offset, unit_values.data(), index(unit.content) * sizeof(float));
  }
  return std::make_unique<ResidentSource>(whole, std::move(flat));
}

void ZeroEngine::read_state(State state, std::span<float> out) const {
  ensure(std::ssize(out) == layout_.shard_total(), "ZeroEngine: a state buffer has the wrong size");
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    read_unit(state, static_cast<std::int64_t>(u), out.subspan(index(unit.shard_offset), index(unit.shard)));
  }
}

void ZeroEngine::read_unit(State state, std::int64_t number, std::span<float> out) const {
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  ensure(std::ssize(out) == unit.shard, "ZeroEngine: a unit's buffer has the wrong size");
  const float* from = parameter_shard(number);
  if (state != State::kParameters) {
    const at::Tensor& moments = state == State::kExpAvg ? exp_avg_ : exp_avg_sq_;
    from = moments.data_ptr<float>() + (policy_.shard_optimizer ? unit.shard_offset : unit.offset + rank_ * unit.shard);
  }
  std::memcpy(out.data(), from, index(unit.shard) * sizeof(float));
}

void ZeroEngine::write_state(State state, std::span<const float> in) {
  ensure(std::ssize(in) == layout_.shard_total(), "ZeroEngine: a state buffer has the wrong size");
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    write_unit(state, static_cast<std::int64_t>(u), in.subspan(index(unit.shard_offset), index(unit.shard)));
  }
  collectives_.barrier();
}

void ZeroEngine::write_unit(State state, std::int64_t number, std::span<const float> in) {
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  ensure(std::ssize(in) == unit.shard, "ZeroEngine: a unit's buffer has the wrong size");
  const std::size_t bytes = index(unit.shard) * sizeof(float);
  if (state == State::kParameters) {
    std::memcpy(parameter_shard(number), in.data(), bytes);
    if (!policy_.shard_parameters) collectives_.all_gather(*parameters_, unit.offset, unit.shard, unit.shard, parameters_->data() + unit.offset);
    return;
  }
  const at::Tensor& moments = state == State::kExpAvg ? exp_avg_ : exp_avg_sq_;
  if (policy_.shard_optimizer) {
    std::memcpy(moments.data_ptr<float>() + unit.shard_offset, in.data(), bytes);
  } else {
    // The gradient buffer is free between steps: the moments of all ranks travel through it.
    std::memcpy(gradients_->data() + unit.offset + rank_ * unit.shard, in.data(), bytes);
    collectives_.all_gather(*gradients_, unit.offset, unit.shard, unit.shard, moments.data_ptr<float>() + unit.offset);
  }
}

}  // namespace th::zero
