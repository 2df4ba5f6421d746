#include "th/base/error.hpp"
#include "th/model/element.hpp"
#include "th/zero/engine.hpp"

#include <ATen/ATen.h>

#include <algorithm>

// Units as the model opens and closes them: where their values and gradients lie meanwhile, and the collectives that this sets off.
namespace th::zero {

namespace {

using runtime::Access;
using runtime::FlightRecord;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

void ZeroEngine::lay_out_places() {
  const std::size_t units = layout_.units().size();
  const UnitPlaces& places = buffers_.exchanged;
  gradient_free_.resize(places.places());
  for (std::size_t u = 0; u < units; ++u) gradient_place_.push_back(places.place(static_cast<std::int64_t>(u), 0));
  forward_event_.assign(units, 0);
  backward_event_.assign(units, 0);
  if (!policy_.shard_parameters) return;
  GatherPool::Source source;
  source.gather = [this](std::int64_t unit, std::byte* to) { gather_unit(unit, to); };
  source.shard = [this](std::int64_t unit) { return shard_of(unit, Access::Kind::kRead); };
  pool_ = std::make_unique<GatherPool>(buffers_, layout_, use_.opens, gather_.data(), streams_, std::move(source));
}

std::byte* ZeroEngine::travelling_gradient(std::int64_t unit) const {
  return reduced_at(gradients_->data(), buffers_.exchanged.offset(gradient_place_[index(unit)]));
}

float* ZeroEngine::unit_gradient(std::int64_t unit) const {
  if (buffers_.types.short_gradients()) return unit_gradients_.as<float>() + buffers_.made.offset(buffers_.made.place(unit, 0));
  return reinterpret_cast<float*>(travelling_gradient(unit));
}

Access ZeroEngine::parameters_of(std::int64_t unit, Access::Kind kind) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  return {kind, working_at(*parameters_, u.offset), u.padded * element_bytes(buffers_.types.working)};
}

Access ZeroEngine::shard_of(std::int64_t unit, Access::Kind kind) const {
  const std::byte* kept = store_->parameters(unit);
  return {kind, kept != nullptr ? kept : parameter_shard(unit), layout_.units()[index(unit)].shard * element_bytes(buffers_.types.working)};
}

std::vector<at::Tensor> ZeroEngine::views(std::int64_t unit, void* base, config::Precision type) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  const at::TensorOptions options = at::TensorOptions().dtype(model::scalar_type(type)).device(tensor_device_);
  std::vector<at::Tensor> out;
  for (std::int64_t t = u.first_tensor; t < u.first_tensor + u.tensor_count; ++t) {
    const FlatLayout::Tensor& tensor = layout_.tensors()[index(t)];
    std::byte* begin = static_cast<std::byte*>(base) + tensor.offset * element_bytes(type);
    out.push_back(at::for_blob(begin, tensor.spec.shape).options(options).target_device(tensor_device_).make_tensor());
  }
  return out;
}

void ZeroEngine::acquire(std::int64_t unit) {
  if (open_[index(unit)]++ > 0) return;
  std::byte* values = nullptr;
  if (pool_) {
    values = pool_->open(unit);
  } else {
    values = working_at(*parameters_, layout_.units()[index(unit)].offset);
    streams_.compute->touch("open", {parameters_of(unit, Access::Kind::kRead)});
  }
  tensors_[index(unit)].values = views(unit, values, buffers_.types.working);
}

void ZeroEngine::release(std::int64_t unit) {
  ensure(open_[index(unit)] > 0, "ZeroEngine: a unit was closed that was not open");
  if (--open_[index(unit)] == 0 && pool_) pool_->close(unit);
}

const model::UnitTensors& ZeroEngine::open_forward(std::int64_t unit) {
  const bool nested = open_[index(unit)] > 0;
  acquire(unit);
  if (!nested) forward_event_[index(unit)] = flight_.begin(FlightRecord::What::kForward, FlightRecord::On::kCompute, unit);
  if (pool_) pool_->gather_ahead();
  return tensors_[index(unit)];
}

void ZeroEngine::close_forward(std::int64_t unit) {
  release(unit);
  flight_.end(forward_event_[index(unit)]);  // of a unit that is open several times, the last one counts
}

bool ZeroEngine::adds_over_rounds() const { return config_.comm.reduction == config::Reduction::kFast && !policy_.shard_gradients; }

void ZeroEngine::take_gradient_place(std::int64_t unit) {
  const UnitPlaces& places = buffers_.exchanged;
  if (places.takes_turns(unit)) gradient_place_[index(unit)] = places.place(unit, gradient_turn_++);
  streams_.compute->wait(gradient_free_[gradient_place_[index(unit)]]);
}

model::UnitTensors& ZeroEngine::open_backward(std::int64_t unit) {
  acquire(unit);
  backward_event_[index(unit)] = flight_.begin(FlightRecord::What::kBackward, FlightRecord::On::kCompute, unit);
  if (pool_) pool_->gather_ahead();
  const bool keep = adds_over_rounds() && round_ > 0;
  model::UnitTensors& tensors = tensors_[index(unit)];
  if (!buffers_.types.short_gradients()) take_gradient_place(unit);
  tensors.gradients = views(unit, unit_gradient(unit), config::Precision::kFp32);
  tensors.product_gradients = keep || idle_ ? model::Write::kAdd : model::Write::kSet;
  streams_.compute->touch("gradient", {runtime::writes(unit_gradient(unit), layout_.units()[index(unit)].padded * 4)});
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
  const std::int64_t padded = layout_.units()[index(unit)].padded;
  streams_.compute->touch("gradient", {runtime::writes(unit_gradient(unit), padded * 4)});
  if (buffers_.types.short_gradients()) {
    take_gradient_place(unit);
    streams_.compute->enqueue("round",
                              [this, from = unit_gradient(unit), to = travelling_gradient(unit), padded] {
                                device_.round(from, element_type(buffers_.types.reduced), to, padded);
                              },
                              {runtime::reads(unit_gradient(unit), padded * 4),
                               runtime::writes(travelling_gradient(unit), padded * element_bytes(buffers_.types.reduced))});
  }
  release(unit);
  flight_.end(backward_event_[index(unit)]);
  if (!adds_over_rounds() || round_ + 1 == rounds_) reduce_unit(unit);
}

void ZeroEngine::reduce_unit(std::int64_t unit) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  const bool fast = config_.comm.reduction == config::Reduction::kFast;
  ensure(!fast || !buffers_.types.short_gradients(), "comm.reduction=fast sums fp32 alone");
  const std::size_t place = gradient_place_[index(unit)];
  const std::int64_t width = element_bytes(buffers_.types.reduced);
  const Access gradient{fast ? Access::Kind::kWrite : Access::Kind::kRead, travelling_gradient(unit), u.padded * width};
  runtime::Stream& communication = *streams_.communication;
  communication.wait(streams_.compute->record());
  communication.enqueue("reduce",
                        [this, unit, fast, offset = buffers_.exchanged.offset(place), round = round_] {
                          const FlightRecord::Scope scope(flight_, FlightRecord::What::kReduce, FlightRecord::On::kCommunication, unit);
                          fast ? reduce_fast(unit, offset, round) : reduce_exact(unit, offset, round);
                        },
                        {gradient, runtime::writes(reduced_gradient(unit), u.shard * width)});
  gradient_free_[place] = communication.record();
}

void ZeroEngine::reduce_fast(std::int64_t unit, std::int64_t offset, std::int64_t round) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  float* full = gradients_->data() + offset;
  collectives_.all_reduce_fast(full, u.padded);
  if (!policy_.shard_gradients) return;
  auto* out = reinterpret_cast<float*>(reduced_gradient(unit));
  const float* mine = full + rank_ * u.shard;
  if (round == 0) return device_.compute().copy(out, mine, u.shard * static_cast<std::int64_t>(sizeof(float)));
  device_.accumulate(out, mine, u.shard);
}

void ZeroEngine::reduce_exact(std::int64_t unit, std::int64_t offset, std::int64_t round) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  const config::Precision type = buffers_.types.reduced;
  const std::int64_t first = round * ranks_;
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

void ZeroEngine::gather_unit(std::int64_t unit, std::byte* to) {
  const FlightRecord::Scope scope(flight_, FlightRecord::What::kGather, FlightRecord::On::kCommunication, unit);
  gather_parameters(unit, reinterpret_cast<float*>(to));
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

}  // namespace th::zero
