#include "th/zero/sharded_source.hpp"

#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"
#include "th/runtime/memory/memory_ledger.hpp"
#include "th/zero/optimizer.hpp"

#include <ATen/ops/from_blob.h>

#include <cstring>

namespace th::zero {

namespace {

using runtime::MemoryClass;
using runtime::MemoryScope;

/// Buffers of stage 3 that gather one unit at a time.
EngineBuffers buffers_of(config::RunConfig config, const FlatLayout& layout,
                         const model::Transformer& model) {
  config.zero = {};
  config.zero.stage = 3;
  config.zero.persistence_threshold = 0;
  config.zero.max_live_parameters = 0;
  config.comm.overlap = config::Overlap::kOff;
  return engine_buffers(config, layout, unit_use(model), layout.ranks());
}

}  // namespace

ShardedSource::ShardedSource(const config::RunConfig& config, const model::Transformer& model,
                             runtime::Collectives& collectives)
    : collectives_(collectives),
      layout_(model.units(), collectives.size()),
      buffers_(buffers_of(config, layout_, model)),
      open_(layout_.units().size(), 0),
      units_(layout_.units().size()) {
  const ElementType type = buffers_.types.working;
  const std::int64_t width = element_size(type);
  {
    const MemoryScope scope(MemoryClass::kParameters);
    if (collectives_.nodes().nodes() == 1)
      parameters_ = collectives_.allocate_shared(layout_.padded_total() * width,
                                                 layout_.shard_total() * width);
    if (parameters_) {
      gather_in_place(buffers_);
    } else {
      parameters_ = collectives_.allocate(layout_.shard_total() * width);
    }
  }
  const MemoryScope scope(MemoryClass::kGatherSlots);
  if (buffers_.gather_slots > 0) {
    const std::int64_t bytes = buffers_.gather_slots * width;
    shared_ = collectives_.allocate_shared(bytes, bytes);
    if (!shared_)
      own_ = model::zeros({buffers_.gather_slots},
                          at::TensorOptions().dtype(model::scalar_type(type)));
  }
  pool_ = std::make_unique<GatherPool>(
      buffers_, layout_,
      [this](std::int64_t unit, std::size_t place) { return place_of(unit, place); },
      device_.compute(), device_.compute(),
      [this](std::int64_t unit, std::byte* to) { gather(unit, to); });
}

ShardedSource::~ShardedSource() = default;

std::int64_t ShardedSource::bytes() const noexcept {
  return (layout_.shard_total() + buffers_.gather_slots) * element_size(buffers_.types.working);
}

std::byte* ShardedSource::place_of(std::int64_t unit, std::size_t place) const {
  if (buffers_.gathers_in_place)
    return at(shards(), layout_.units()[static_cast<std::size_t>(unit)].offset);
  std::byte* const slots = shared_ ? shared_->data() : static_cast<std::byte*>(own_.data_ptr());
  return at(slots, buffers_.gathered.offset(place));
}

void ShardedSource::gather(std::int64_t number, std::byte* to) {
  const FlatLayout::Unit& unit = layout_.units()[static_cast<std::size_t>(number)];
  const std::int64_t width = element_size(buffers_.types.working);
  const bool whole = buffers_.gathers_in_place;
  const std::int64_t shard = unit.shard * width;
  collectives_.all_gather(
      *parameters_,
      {(whole ? unit.offset : unit.shard_offset) * width, shard, whole ? shard : std::int64_t{0}},
      to, shared_.get());
}

void ShardedSource::write_unit(std::int64_t number, std::span<const float> values) {
  const FlatLayout::Unit& unit = layout_.units()[static_cast<std::size_t>(number)];
  ensure(std::ssize(values) == unit.shard, "ShardedSource: a unit's buffer has the wrong size");
  std::byte* const to =
      at(shards(), buffers_.gathers_in_place ? unit.offset + collectives_.rank() * unit.shard
                                             : unit.shard_offset);
  if (buffers_.types.working == ElementType::kFp32) {
    std::memcpy(to, values.data(), values.size_bytes());
  } else {
    device_.round(device_.compute(), values.data(), buffers_.types.working, to, unit.shard);
  }
}

const model::UnitTensors& ShardedSource::open_forward(std::int64_t number) {
  const auto u = static_cast<std::size_t>(number);
  if (open_[u]++ > 0) return units_[u];
  const FlatLayout::Unit& unit = layout_.units()[u];
  std::byte* const values = pool_->open(number);
  const at::TensorOptions options =
      at::TensorOptions().dtype(model::scalar_type(buffers_.types.working));
  units_[u].values.clear();
  for (std::int64_t t = unit.first_tensor; t < unit.first_tensor + unit.tensor_count; ++t) {
    const FlatLayout::Tensor& tensor = layout_.tensors()[static_cast<std::size_t>(t)];
    units_[u].values.push_back(
        at::from_blob(at(values, tensor.offset), tensor.spec.shape, options));
  }
  return units_[u];
}

void ShardedSource::close_forward(std::int64_t number) {
  const auto u = static_cast<std::size_t>(number);
  ensure(open_[u] > 0, "ShardedSource: a unit was closed that was not open");
  if (--open_[u] == 0) pool_->close(number);
}

}  // namespace th::zero
