#include "th/zero/decoding_source.hpp"

#include "th/base/error.hpp"
#include "th/model/memory/tensors.hpp"
#include "th/model/ops/element.hpp"
#include "th/zero/engine/engine_units.hpp"
#include "zero/roles/engine_frame.hpp"

#include <ATen/ops/from_blob.h>

// The engine's parameters for decoding in lock step.
namespace th::zero {

model::UnitTensors& DecodingSource::open_backward(std::int64_t) {
  throw InternalError("decoding makes no gradients");
}
void DecodingSource::close_backward(std::int64_t) {
  throw InternalError("decoding makes no gradients");
}

UnitPlaces host_places(const FlatLayout& layout, const UnitUse& use) {
  return unit_places(layout, use.long_lived, 1);
}

namespace {

/// Units as the engine has them, in host memory.
class OpenedUnits : public DecodingSource {
 public:
  explicit OpenedUnits(EngineUnits& units) : opened_(units) {}
  void begin_batch() final { opened_.begin_decoding(); }
  void begin_steps(std::int64_t steps) final { opened_.begin_decoding_steps(steps); }
  const model::UnitTensors& open_forward(std::int64_t unit) override {
    return opened_.open_forward(unit);
  }
  void close_forward(std::int64_t unit) override { opened_.close_forward(unit); }

 protected:
  EngineUnits& opened_;
};

/// Units of an engine whose device has memory of its own, copied to the host when they are opened.
class CopiedUnits final : public OpenedUnits {
 public:
  CopiedUnits(EngineUnits& units, runtime::Device& device, const model::Transformer& model,
              ElementType type)
      : OpenedUnits(units),
        device_(device),
        layout_(model.units(), 1),
        places_(host_places(layout_, unit_use(model))),
        open_(layout_.units().size(), 0),
        in_turn_(-1),
        copies_(
            model::empty({places_.total}, at::TensorOptions().dtype(model::scalar_type(type)))) {
    for (std::int64_t u = 0; u < std::ssize(layout_.units()); ++u) units_.push_back(views(u));
  }
  const model::UnitTensors& open_forward(std::int64_t unit) override {
    const auto u = static_cast<std::size_t>(unit);
    if (open_[u]++ > 0) return units_[u];
    if (places_.takes_turns(unit)) {
      ensure(in_turn_ < 0, "decoding: two units are open that take turns");
      in_turn_ = unit;
    }
    // The device's copy goes as soon as it is read.
    const void* values = opened_.open_forward(unit).values.front().data_ptr();
    runtime::copy_now(device_, units_[u].values.front().data_ptr(), values,
                      layout_.units()[u].content * copies_.element_size());
    opened_.close_forward(unit);
    return units_[u];
  }
  void close_forward(std::int64_t unit) override {
    if (--open_[static_cast<std::size_t>(unit)] == 0 && in_turn_ == unit) in_turn_ = -1;
  }

 private:
  [[nodiscard]] model::UnitTensors views(std::int64_t number) const {
    const FlatLayout::Unit& unit = layout_.units()[static_cast<std::size_t>(number)];
    char* base = static_cast<char*>(copies_.data_ptr()) +
                 places_.offset(places_.place(number, 0)) * copies_.element_size();
    model::UnitTensors out;
    for (std::int64_t t = unit.first_tensor; t < unit.first_tensor + unit.tensor_count; ++t) {
      const FlatLayout::Tensor& tensor = layout_.tensors()[static_cast<std::size_t>(t)];
      out.values.push_back(at::from_blob(base + tensor.offset * copies_.element_size(),
                                         tensor.spec.shape, copies_.options()));
    }
    return out;
  }

  runtime::Device& device_;
  FlatLayout layout_;
  UnitPlaces places_;
  std::vector<int> open_;  ///< how often a unit is open
  std::int64_t in_turn_;   ///< the open one of those that take turns; -1: none
  at::Tensor copies_;      ///< working type
  std::vector<model::UnitTensors> units_;
};

}  // namespace

std::unique_ptr<DecodingSource> EngineUnits::decoding_source(const model::Transformer& model) {
  const EngineFrame& frame = roles_.frame;
  if (frame.buffers.memory == runtime::DeviceMemory::kHost)
    return std::make_unique<OpenedUnits>(*this);
  const runtime::MemoryScope scope(runtime::MemoryClass::kGatherSlots);
  return std::make_unique<CopiedUnits>(*this, frame.device, model, frame.buffers.types.working);
}

}  // namespace th::zero
