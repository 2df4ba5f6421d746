#include "th/base/error.hpp"
#include "th/config/state_names.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"
#include "th/model/parameters/initialization.hpp"
#include "th/zero/engine.hpp"
#include "th/zero/resident_source.hpp"
#include "zero/sizes.hpp"

#include <algorithm>
#include <array>

// The engine's state going in and out: initial values, checkpoints, and a whole copy for decoding.
namespace th::zero {

void ZeroEngine::initialise(std::uint64_t seed) {
  for (const FlatLayout::Piece& piece : layout_.pieces(rank_)) {
    const FlatLayout::Tensor& tensor = layout_.tensors()[index(piece.tensor)];
    float* weights = store_->at(State::kParameters, my_shard(tensor.unit)) + piece.shard_offset -
                     layout_.units()[index(tensor.unit)].shard_offset;
    constexpr std::int64_t kChunk = 2048;
    std::array<float, kChunk> values;
    for (std::int64_t at = 0; at < piece.count; at += kChunk) {
      const std::int64_t n = std::min(kChunk, piece.count - at);
      model::initialize_elements(tensor.spec, seed, config_.model.d_model, piece.tensor_begin + at,
                                 n, values.data());
      runtime::copy_now(device_, weights + at, values.data(), n * kFloat);
    }
  }
  for (std::size_t u = 0; u < layout_.units().size(); ++u) share_unit(static_cast<std::int64_t>(u));
  parameters_changed();
  collectives_.barrier();
  start_average();
}

void ZeroEngine::swap_average() {
  const State state = optimizer_state(buffers_.states - 1);
  settle();
  collectives_.barrier();  // nobody reads what a node has once
  for (std::int64_t u = 0; u < std::ssize(layout_.units()); ++u) {
    const StateStore::Slice mine = my_shard(u);
    store_->swap_average(mine);
    share_unit(u);
    if (!policy_.shard_optimizer) share_fp32(u, store_->at(state, mine), whole_state(state, u));
  }
  parameters_changed();
  collectives_.barrier();
}

void ZeroEngine::start_average() {
  if (!buffers_.averages) return;
  const State state = optimizer_state(buffers_.states - 1);
  settle();
  collectives_.barrier();
  for (std::int64_t u = 0; u < std::ssize(layout_.units()); ++u) {
    const StateStore::Slice mine = my_shard(u);
    store_->average(mine, 1.0);
    if (!policy_.shard_optimizer) share_fp32(u, store_->at(state, mine), whole_state(state, u));
  }
  collectives_.barrier();
}

std::vector<ZeroEngine::NamedState> ZeroEngine::states() const {
  std::vector<NamedState> out{{"parameters", State::kParameters}};
  for (const char* name : config::state_names(config_))
    out.push_back({name, optimizer_state(out.size() - 1)});
  return out;
}

void ZeroEngine::parameters_changed() {
  updated_.assign(layout_.units().size(), compute_.record());
  whole_ = updated_;
  if (pool_) pool_->updated();
}

float* ZeroEngine::whole_state(State state, std::int64_t unit) const {
  ensure(!policy_.shard_optimizer, "ZeroEngine: sharded states are nowhere whole");
  return store_->at(state, slice_of(unit));
}

void ZeroEngine::share_unit(std::int64_t number) {
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  const StateStore::Slice mine = my_shard(number);
  if (buffers_.types.masters()) {
    store_->publish(mine);
    if (!policy_.shard_optimizer)
      share_fp32(number, store_->at(State::kParameters, mine),
                 whole_state(State::kParameters, number));
  }
  if (policy_.shard_parameters) return;
  gather_now(number, working_at(*parameters_, unit.offset));
}

template <typename Place>
void ZeroEngine::share_shards(std::int64_t number, const float* mine, runtime::Access whole,
                              Place place) {
  const FlatLayout::Unit& u = layout_.units()[index(number)];
  const std::int64_t offset = words(u.offset, buffers_.types.reduced);
  const std::int64_t part =
      words(u.shard, buffers_.types.reduced);  // of 16-bit gradients the buffer holds half a unit
  float* buffer = gradients_->data() + offset;
  communication_.wait(compute_.record());
  communication_.enqueue("share",
                         [=, this, shard = u.shard] {
                           for (std::int64_t at = 0; at < shard; at += part) {
                             communication_.copy(buffer + rank_ * part, mine + at, part * kFloat);
                             collectives_.all_gather(*gradients_, offset, part, part, buffer);
                             for (std::int64_t r = 0; r < ranks_; ++r) {
                               if (updates(r)) place(r * shard + at, buffer + r * part, part);
                             }
                           }
                         },
                         {runtime::reads(mine, u.shard * kFloat),
                          runtime::writes(buffer, part * ranks_ * kFloat), whole});
  communication_.drain();
}

void ZeroEngine::share_fp32(std::int64_t number, const float* mine, float* whole) {
  share_shards(number, mine, runtime::writes(whole, layout_.units()[index(number)].padded * kFloat),
               [this, whole](std::int64_t at, const float* from, std::int64_t count) {
                 communication_.copy(whole + at, from, count * kFloat);
               });
}

void ZeroEngine::share_state(std::int64_t number, const float* mine, State state) {
  share_shards(
      number, mine, {},
      [this, state, number](std::int64_t at, const float* from, std::int64_t count) {
        store_->write(state, {number, at, count, nullptr, nullptr, at}, {from, index(count)});
      });
}

std::unique_ptr<model::ParameterSource> ZeroEngine::gather_all(const model::Transformer& model) {
  const runtime::MemoryScope scope(runtime::MemoryClass::kGatherSlots);
  const FlatLayout whole(model.units(), 1);
  const config::Precision type = buffers_.types.working;
  at::Tensor flat =
      model::zeros({whole.padded_total()}, at::TensorOptions().dtype(model::scalar_type(type)));
  const Slots slot = make_slots(whole_parameters() ? 0 : layout_.largest_unit());
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    std::byte* values = whole_parameters() ? working_at(*parameters_, unit.offset) : slot.data();
    if (policy_.shard_parameters) {
      gather_now(static_cast<std::int64_t>(u), values, slot.shared.get());
    } else {
      compute_.wait(whole_[u]);
    }
    runtime::copy_now(
        device_,
        static_cast<std::byte*>(flat.data_ptr()) + whole.units()[u].offset * element_bytes(type),
        values, unit.content * element_bytes(type));
    forget_unit(static_cast<std::int64_t>(u));
  }
  return std::make_unique<ResidentSource>(whole, std::move(flat));
}

void ZeroEngine::read_state(State state, std::span<float> out) const {
  ensure(std::ssize(out) == layout_.shard_total(), "ZeroEngine: a state buffer has the wrong size");
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    read_unit(state, static_cast<std::int64_t>(u),
              out.subspan(index(unit.shard_offset), index(unit.shard)));
  }
}

void ZeroEngine::read_unit(State state, std::int64_t number, std::span<float> out) const {
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  ensure(std::ssize(out) == unit.shard, "ZeroEngine: a unit's buffer has the wrong size");
  compute_.wait(whole_[index(number)]);
  if (!is_plain(state)) return store_->read(state, my_shard(number), out);
  runtime::copy_now(device_, out.data(), store_->at(state, my_shard(number)), unit.shard * kFloat);
  if (pool_) pool_->was_read(number);
}

void ZeroEngine::write_state(State state, std::span<const float> in) {
  ensure(std::ssize(in) == layout_.shard_total(), "ZeroEngine: a state buffer has the wrong size");
  collectives_.barrier();  // nobody reads what a node has once
  for (std::size_t u = 0; u < layout_.units().size(); ++u) {
    const FlatLayout::Unit& unit = layout_.units()[u];
    write_unit(state, static_cast<std::int64_t>(u),
               in.subspan(index(unit.shard_offset), index(unit.shard)));
  }
  collectives_.barrier();
}

void ZeroEngine::write_unit(State state, std::int64_t number, std::span<const float> in) {
  const FlatLayout::Unit& unit = layout_.units()[index(number)];
  ensure(std::ssize(in) == unit.shard, "ZeroEngine: a unit's buffer has the wrong size");
  if (!is_plain(state)) {
    if (!policy_.shard_optimizer) return share_state(number, in.data(), state);
    return store_->write(state, my_shard(number), in);
  }
  if (state == State::kParameters || policy_.shard_optimizer) {
    compute_.wait(whole_[index(number)]);
    runtime::copy_now(device_, store_->at(state, my_shard(number)), in.data(), unit.shard * kFloat);
    if (state != State::kParameters) return;
    share_unit(number);
    parameters_changed();
  } else {
    share_fp32(number, in.data(), whole_state(state, number));
  }
}

}  // namespace th::zero
