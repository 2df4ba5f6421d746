#include "th/base/error.hpp"
#include "th/model/element.hpp"
#include "th/zero/engine.hpp"
#include "th/zero/resident_source.hpp"

#include <ATen/ATen.h>

#include <cstring>

// The engine's state going in and out: initial values, checkpoints, and a whole copy for decoding.
namespace th::zero {

namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

void ZeroEngine::initialise(std::uint64_t seed) {
  for (const FlatLayout::Piece& piece : layout_.pieces(rank_)) {
    const FlatLayout::Tensor& tensor = layout_.tensors()[index(piece.tensor)];
    float* shard = master_shard(tensor.unit) - layout_.units()[index(tensor.unit)].shard_offset;
    model::initialize_elements(tensor.spec, seed, config_.model.d_model, piece.tensor_begin, piece.count, shard + piece.shard_offset);
  }
  for (std::size_t u = 0; u < layout_.units().size(); ++u) share_unit(static_cast<std::int64_t>(u));
  collectives_.barrier();
}

void ZeroEngine::share_unit(std::int64_t number) {
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  const config::Precision type = buffers_.types.working;
  if (buffers_.types.masters()) {
    round_elements(master_shard(number), type, parameter_shard(number), unit.shard);
    if (!policy_.shard_optimizer) share_fp32(number, master_shard(number), masters_.data_ptr<float>() + unit.offset);
  }
  if (policy_.shard_parameters) return;
  const std::int64_t offset = words(unit.offset, type);
  const std::int64_t shard = words(unit.shard, type);
  collectives_.all_gather(*parameters_, offset, shard, shard, parameters_->data() + offset);
}

void ZeroEngine::share_fp32(std::int64_t number, const float* mine, float* whole) {
  const FlatLayout::Unit& u = layout_.units()[index(number)];
  const std::int64_t offset = words(u.offset, buffers_.types.reduced);
  const std::int64_t part = words(u.shard, buffers_.types.reduced);  // of 16-bit gradients the buffer holds half a unit
  float* buffer = gradients_->data() + offset;
  for (std::int64_t at = 0; at < u.shard; at += part) {
    std::memcpy(buffer + rank_ * part, mine + at, index(part) * sizeof(float));
    collectives_.all_gather(*gradients_, offset, part, part, buffer);
    for (std::int64_t r = 0; r < ranks_; ++r) std::memcpy(whole + r * u.shard + at, buffer + r * part, index(part) * sizeof(float));
  }
}

std::unique_ptr<model::ParameterSource> ZeroEngine::gather_all(const model::Transformer& model) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kGatherSlots);
  const FlatLayout whole(model.units(), 1);
  const config::Precision type = buffers_.types.working;
  at::Tensor flat = at::zeros({whole.padded_total()}, at::TensorOptions().dtype(model::scalar_type(type)));
  std::vector<float> unit_values(index(words(layout_.largest_unit(), type)));
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    const bool sharded = policy_.shard_parameters;
    const std::int64_t shard = words(unit.shard, type);
    collectives_.all_gather(*parameters_, words(sharded ? unit.shard_offset : unit.offset, type), sharded ? 0 : shard, shard, unit_values.data());
    std::memcpy(static_cast<std::byte*>(flat.data_ptr()) + whole.units()[u].offset * element_bytes(type), unit_values.data(),
                index(unit.content * element_bytes(type)));
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
  const float* from = master_shard(number);
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
    std::memcpy(master_shard(number), in.data(), bytes);
    if (pool_) pool_->updated();
    return share_unit(number);
  }
  const at::Tensor& moments = state == State::kExpAvg ? exp_avg_ : exp_avg_sq_;
  if (policy_.shard_optimizer) {
    std::memcpy(moments.data_ptr<float>() + unit.shard_offset, in.data(), bytes);
  } else {
    share_fp32(number, in.data(), moments.data_ptr<float>() + unit.offset);
  }
}

}  // namespace th::zero
