#include "th/model/decoding/idle_decoding.hpp"
#include "th/zero/engine_buffers.hpp"

namespace th::zero {

namespace {

/// Notes which units are opened that were closed.
class OpensRecorder final : public model::ParameterSource {
 public:
  OpensRecorder(std::size_t units, std::vector<std::int64_t>& opens)
      : open_(units, 0), tensors_(units), opens_(&opens) {}
  /// What is opened from here on goes there.
  void note_in(std::vector<std::int64_t>& opens) { opens_ = &opens; }
  const model::UnitTensors& open_forward(std::int64_t unit) override { return opened(unit); }
  void close_forward(std::int64_t unit) override { --open_[static_cast<std::size_t>(unit)]; }
  model::UnitTensors& open_backward(std::int64_t unit) override { return opened(unit); }
  void close_backward(std::int64_t unit) override { --open_[static_cast<std::size_t>(unit)]; }

 private:
  model::UnitTensors& opened(std::int64_t unit) {
    if (open_[static_cast<std::size_t>(unit)]++ == 0) opens_->push_back(unit);
    return tensors_[static_cast<std::size_t>(unit)];
  }
  std::vector<int> open_;
  std::vector<model::UnitTensors> tensors_;
  std::vector<std::int64_t>* opens_;
};

}  // namespace

UnitUse unit_use(const model::Transformer& model) {
  UnitUse use{model.shared().long_lived, {}};
  OpensRecorder both(model.units().size(), use.opens),
      forward(model.units().size(), use.forward_opens),
      decoding(model.units().size(), use.decoding_opens);
  model.idle(both, model::IdlePass::kSlot);
  model.idle(forward, model::IdlePass::kForward);
  const model::IdleDecoding beginning(model, decoding);
  decoding.note_in(use.step_opens);
  model::IdleDecoding::step(model, decoding);
  return use;
}

}  // namespace th::zero
