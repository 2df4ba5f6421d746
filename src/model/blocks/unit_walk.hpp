#pragma once

#include <optional>

#include "model/blocks/pass.hpp"

namespace th::model {

/// One way through a model's units. A rank with a micro-batch computes at each unit; one without
/// (idle: no pass) opens and closes the same units in the same order, since that sets off
/// collectives.
class UnitWalk {
 public:
  /// `pass` null: idle.
  UnitWalk(ParameterSource& source, Pass* pass) : source_(source), pass_(pass) {
    if (pass_ != nullptr) pass_->context.stop = source_.stop();
  }

  [[nodiscard]] bool computes() const noexcept { return pass_ != nullptr; }
  /// The pass of a walk that computes.
  [[nodiscard]] Pass& pass() const noexcept { return *pass_; }

  /// Opens a unit, calls work(parameters) where the walk computes, and closes it.
  template <typename Work>
  void forward(std::int64_t unit, const Work& work) {
    const UnitTensors& tensors = source_.open_forward(unit);
    if (pass_ != nullptr) work(ParameterSpan{tensors.values, {}});
    source_.close_forward(unit);
  }
  /// The same with gradients, which are complete then; a unit that is held stays open.
  template <typename Work>
  void backward(std::int64_t unit, const Work& work) {
    if (held_ == unit) {
      if (pass_ != nullptr) work(pass_->shared);
      return;
    }
    UnitTensors& tensors = source_.open_backward(unit);
    if (pass_ != nullptr) work(with_gradients(tensors));
    source_.close_backward(unit);
  }

  /// A unit that several blocks use (shared embeddings) is held open over them: its parameters are
  /// pass().shared. Where none is held the other three do nothing.
  void hold_forward(std::int64_t unit) {
    held_ = unit;
    const UnitTensors& tensors = source_.open_forward(unit);
    if (pass_ != nullptr) pass_->shared = {tensors.values, {}};
  }
  void release_forward() {
    if (held_) source_.close_forward(take_held());
  }
  /// From here on with gradients.
  void hold_backward() {
    if (!held_) return;
    UnitTensors& tensors = source_.open_backward(*held_);
    source_.close_forward(*held_);
    if (pass_ != nullptr) pass_->shared = with_gradients(tensors);
  }
  void release_backward() {
    if (held_) source_.close_backward(take_held());
  }

 private:
  [[nodiscard]] static ParameterSpan with_gradients(UnitTensors& tensors) {
    return {tensors.values, tensors.gradients, tensors.product_gradients};
  }
  [[nodiscard]] std::int64_t take_held() {
    const std::int64_t unit = *held_;
    held_.reset();
    return unit;
  }

  ParameterSource& source_;
  Pass* pass_;
  std::optional<std::int64_t> held_;
};

}  // namespace th::model
