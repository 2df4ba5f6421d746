#include "th/base/error.hpp"
#include "th/model/ops/element.hpp"
#include "th/zero/engine.hpp"
#include "zero/sizes.hpp"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <optional>
#include <utility>

// Units as the model opens and closes them: where their values and gradients lie meanwhile, and the
// collectives that this sets off.
namespace th::zero {

namespace {

using runtime::Access;
using runtime::FlightRecord;

}  // namespace

void ZeroEngine::lay_out_places() {
  const std::size_t units = layout_.units().size();
  const UnitPlaces& places = buffers_.exchanged;
  gradient_free_.resize(places.places());
  updated_.resize(units);
  whole_.resize(units);
  for (std::size_t u = 0; u < units; ++u)
    gradient_place_.push_back(places.place(static_cast<std::int64_t>(u), 0));
  forward_event_.resize(units);
  backward_event_.assign(units, 0);
  if (!policy_.shard_parameters) return;
  const auto memory = [this](std::int64_t unit, std::size_t place) {
    if (buffers_.gathers_in_place)
      return working_at(*parameters_, layout_.units()[index(unit)].offset);
    return slots_of_gathers_.data() +
           buffers_.gathered.offset(place) * element_bytes(buffers_.types.working);
  };
  pool_ = std::make_unique<GatherPool>(buffers_, layout_, memory, compute_, communication_,
                                       [this](std::int64_t unit, std::byte* to) {
                                         gather_unit(unit, to, slots_of_gathers_.shared.get());
                                       });
}

StateStore::Slice ZeroEngine::slice_of(std::int64_t unit) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  if (policy_.shard_optimizer)
    return {unit,
            0,
            u.shard,
            reduced_gradient(unit),
            parameter_shard(unit),
            rank_ * u.shard,
            element_bytes(buffers_.types.working)};
  return {unit, 0, u.padded, reduced_at(gradients_->data(), u.offset),
          working_at(*parameters_, u.offset)};
}

StateStore::Slice ZeroEngine::my_shard(std::int64_t unit) const {
  const std::int64_t shard = layout_.units()[index(unit)].shard;
  return {unit,
          policy_.shard_optimizer ? 0 : rank_ * shard,
          shard,
          nullptr,
          parameter_shard(unit),
          rank_ * shard,
          element_bytes(buffers_.types.working)};
}

std::byte* ZeroEngine::travelling_gradient(std::int64_t unit) const {
  return reduced_at(gradients_->data(), buffers_.exchanged.offset(gradient_place_[index(unit)]));
}

float* ZeroEngine::unit_gradient(std::int64_t unit) const {
  if (buffers_.types.short_gradients())
    return unit_gradients_.as<float>() + buffers_.made.offset(buffers_.made.place(unit, 0));
  return reinterpret_cast<float*>(travelling_gradient(unit));
}

std::vector<at::Tensor> ZeroEngine::views(std::int64_t unit, void* base,
                                          config::Precision type) const {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  const at::TensorOptions options =
      at::TensorOptions().dtype(model::scalar_type(type)).device(tensor_device_);
  std::vector<at::Tensor> out;
  for (std::int64_t t = u.first_tensor; t < u.first_tensor + u.tensor_count; ++t) {
    const FlatLayout::Tensor& tensor = layout_.tensors()[index(t)];
    std::byte* begin = static_cast<std::byte*>(base) + tensor.offset * element_bytes(type);
    out.push_back(at::for_blob(begin, tensor.spec.shape)
                      .options(options)
                      .target_device(tensor_device_)
                      .make_tensor());
  }
  return out;
}

void ZeroEngine::acquire(std::int64_t unit) {
  if (open_[index(unit)]++ > 0) return;
  std::byte* values = nullptr;
  if (pool_) {
    values = pool_->open(unit);
  } else {
    const FlatLayout::Unit& u = layout_.units()[index(unit)];
    values = working_at(*parameters_, u.offset);
    compute_.wait(whole_[index(unit)]);
    compute_.touch("open",
                   {runtime::reads(values, u.padded * element_bytes(buffers_.types.working))});
  }
  tensors_[index(unit)].values = views(unit, values, buffers_.types.working);
}

void ZeroEngine::release(std::int64_t unit) {
  ensure(open_[index(unit)] > 0, "ZeroEngine: a unit was closed that was not open");
  if (--open_[index(unit)] > 0 || !pool_) return;
  pool_->close(unit);
  if (!buffers_.kept[index(unit)]) forget_unit(unit);
}

void ZeroEngine::forget_unit(std::int64_t unit) {
  if (!buffers_.gathers_in_place) return;
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  const std::int64_t begin = words(u.offset, buffers_.types.working),
                     shard = words(u.shard, buffers_.types.working);
  parameters_->forget(begin, shard * rank_);
  parameters_->forget(begin + shard * (rank_ + 1), shard * (ranks_ - rank_ - 1));
}

const model::UnitTensors& ZeroEngine::open_forward(std::int64_t unit) {
  acquire(unit);
  std::optional<std::uint64_t>& event = forward_event_[index(unit)];
  if (event) {  // what opened it before was to hold it, and computed nothing yet
    FlightRecord::restart(flight_, compute_, *event);
  } else {
    event = FlightRecord::begin(flight_, compute_, FlightRecord::What::kForward,
                                FlightRecord::On::kCompute, unit, slot_);
  }
  if (pool_) pool_->gather_ahead();
  spoil_weights(unit);
  return tensors_[index(unit)];
}

void ZeroEngine::close_forward(std::int64_t unit) {
  release(unit);
  if (const auto event = std::exchange(forward_event_[index(unit)], std::nullopt))
    FlightRecord::end(flight_, compute_, *event);
}

bool ZeroEngine::adds_over_rounds() const {
  return config_.comm.reduction == config::Reduction::kFast && !policy_.shard_gradients;
}

void ZeroEngine::take_gradient_place(std::int64_t unit) {
  const UnitPlaces& places = buffers_.exchanged;
  if (places.takes_turns(unit)) gradient_place_[index(unit)] = places.place(unit, gradient_turn_++);
  compute_.wait(gradient_free_[gradient_place_[index(unit)]]);
}

model::UnitTensors& ZeroEngine::open_backward(std::int64_t unit) {
  acquire(unit);
  if (pool_) pool_->gather_ahead();
  const bool keep = adds_over_rounds() && round_ > 0;
  model::UnitTensors& tensors = tensors_[index(unit)];
  if (!buffers_.types.short_gradients()) take_gradient_place(unit);
  backward_event_[index(unit)] = FlightRecord::begin(
      flight_, compute_, FlightRecord::What::kBackward, FlightRecord::On::kCompute, unit, slot_);
  tensors.gradients = views(unit, unit_gradient(unit), config::Precision::kFp32);
  tensors.product_gradients = keep || idle_ ? model::Write::kAdd : model::Write::kSet;
  compute_.touch("gradient",
                 {runtime::writes(unit_gradient(unit), layout_.units()[index(unit)].padded * 4)});
  if (!keep) zero_gradients(unit);
  return tensors;
}

void ZeroEngine::zero_gradients(std::int64_t unit) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  float* gradients = unit_gradient(unit);
  const auto clear = [&](std::int64_t begin, std::int64_t end) {
    compute_.clear(gradients + begin, (end - begin) * static_cast<std::int64_t>(sizeof(float)));
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
  compute_.touch("gradient", {runtime::writes(unit_gradient(unit), padded * 4)});
  if (buffers_.types.short_gradients()) {
    take_gradient_place(unit);
    compute_.enqueue("round",
                     [this, from = unit_gradient(unit), to = travelling_gradient(unit), padded] {
                       device_.round(compute_, from, element_type(buffers_.types.reduced), to,
                                     padded);
                     },
                     {runtime::reads(unit_gradient(unit), padded * 4),
                      runtime::writes(travelling_gradient(unit),
                                      padded * element_bytes(buffers_.types.reduced))});
  }
  if (audit_ && audit_->computes()) {
    spoil_gradient(BitFlip::Place::kGradient, unit);
    audit_->add(unit, travelling_gradient(unit));
  }
  release(unit);
  FlightRecord::end(flight_, compute_, backward_event_[index(unit)]);
  if (audit_ && audit_->again()) return;
  spoil_gradient(BitFlip::Place::kMessage, unit);
  if (!adds_over_rounds() || round_ + 1 == rounds_) reduce_unit(unit);
}

void ZeroEngine::reduce_unit(std::int64_t unit) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  const bool fast = config_.comm.reduction == config::Reduction::kFast;
  ensure(!fast || !buffers_.types.short_gradients(), "comm.reduction=fast sums fp32 alone");
  const std::size_t place = gradient_place_[index(unit)];
  const std::int64_t width = element_bytes(buffers_.types.reduced);
  const Access gradient{fast ? Access::Kind::kWrite : Access::Kind::kRead,
                        travelling_gradient(unit), u.padded * width};
  const std::int64_t blocks = u.shard / FlatLayout::kBlock;
  const Access norms =
      reduction_sums_squares()
          ? runtime::writes(record() + u.shard_offset / FlatLayout::kBlock, blocks * 8)
          : gradient;
  communication_.wait(compute_.record());
  communication_.enqueue(
      "reduce",
      [this, unit, fast, offset = buffers_.exchanged.offset(place), round = round_, slot = slot_] {
        const FlightRecord::Scope scope(flight_, communication_, FlightRecord::What::kReduce,
                                        FlightRecord::On::kCommunication, unit, slot);
        fast ? reduce_fast(unit, offset, round) : reduce_exact(unit, offset, round);
      },
      {gradient, runtime::writes(reduced_gradient(unit), u.shard * width), norms});
  gradient_free_[place] = communication_.record();
  if (round_ + 1 == rounds_ && updates_own_part())
    store_->bring(slice_of(unit), gradient_free_[place], flight_);
}

void ZeroEngine::reduce_fast(std::int64_t unit, std::int64_t offset, std::int64_t round) {
  const FlatLayout::Unit& u = layout_.units()[index(unit)];
  float* full = gradients_->data() + offset;
  collectives_.all_reduce_fast(full, u.padded);
  if (!policy_.shard_gradients) return;
  auto* out = reinterpret_cast<float*>(reduced_gradient(unit));
  const float* mine = full + rank_ * u.shard;
  if (round == 0)
    return communication_.copy(out, mine, u.shard * static_cast<std::int64_t>(sizeof(float)));
  device_.accumulate(communication_, out, mine, u.shard);
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
    const runtime::SubtreeSum sum{first, static_cast<int>(std::min(ranks_, slots_ - first)),
                                  u.shard, add};
    std::vector<SlotTree::Leaf> leaves;
    for (const runtime::Contribution& one : contributions(unit, offset, round, sum))
      leaves.push_back({one.data, one.ranks});
    runtime::TreeSum total = tree_->plan(first, leaves, u.shard_offset, u.shard, element_type(type),
                                         reduced_gradient(unit));
    if (reduction_sums_squares())
      total.square_sums = record() + u.shard_offset / FlatLayout::kBlock;
    device_.tree_sum(communication_, total);
  });
  collectives_.finish_exchange();
}

ZeroEngine::GatherSource& ZeroEngine::fetch(std::int64_t unit, const std::byte* kept) {
  GatherSource& source = gather_sources_[index(fetched_++ % std::ssize(gather_sources_))];
  float* to = source.buffer->data();
  const std::int64_t bytes =
      layout_.units()[index(unit)].shard * element_bytes(buffers_.types.working);
  copies_.wait(updated_[index(unit)]);
  copies_.wait(source.left);
  copies_.enqueue("fetch",
                  [this, unit, to, kept, bytes] {
                    const FlightRecord::Scope scope(flight_, copies_, FlightRecord::What::kFetch,
                                                    FlightRecord::On::kCopies, unit);
                    copies_.copy(to, kept, bytes);
                  },
                  {runtime::reads(kept, bytes), runtime::writes(to, bytes)});
  communication_.wait(copies_.record());
  return source;
}

void ZeroEngine::gather_unit(std::int64_t number, std::byte* to, runtime::TransportBuffer* within) {
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  const config::Precision type = buffers_.types.working;
  const std::int64_t shard = words(unit.shard, type);
  const std::byte* kept = store_->parameters(number);
  GatherSource* source = kept == nullptr ? nullptr : &fetch(number, kept);
  if (source == nullptr) communication_.wait(updated_[index(number)]);
  const bool whole = whole_parameters();
  const std::int64_t offset =
      source != nullptr ? 0 : words(whole ? unit.offset : unit.shard_offset, type);
  runtime::TransportBuffer* from = source != nullptr ? source->buffer.get() : parameters_.get();
  communication_.enqueue(
      "gather",
      [this, number, from, offset, stride = whole ? shard : 0, shard,
       full = reinterpret_cast<float*>(to), within] {
        const FlightRecord::Scope scope(flight_, communication_, FlightRecord::What::kGather,
                                        FlightRecord::On::kCommunication, number);
        if (within == nullptr) return collectives_.all_gather(*from, offset, stride, shard, full);
        collectives_.all_gather_shared(*from, offset, stride, shard, *within,
                                       full - within->data());
      },
      {runtime::reads(source != nullptr ? working_at(*from, 0) : parameter_shard(number),
                      unit.shard * element_bytes(type)),
       runtime::writes(to, unit.padded * element_bytes(type))});
  if (source != nullptr) source->left = communication_.record();
}

void ZeroEngine::gather_now(std::int64_t unit, std::byte* to, runtime::TransportBuffer* within) {
  communication_.wait(compute_.record());
  gather_unit(unit, to, within);
  communication_.drain();
}

}  // namespace th::zero
