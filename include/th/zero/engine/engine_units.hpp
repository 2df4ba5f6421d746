#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "th/base/bit_flip.hpp"
#include "th/model/blocks/transformer.hpp"
#include "th/zero/step.hpp"

namespace th::zero {

class DecodingSource;
class GradientReducer;
class ParameterResidency;
class ParameterUpdate;
class SlotAudit;
struct EngineFrame;

/// The engine's units for the model, which opens and closes them. This class knows where their
/// values and gradients are meanwhile, and starts the collectives. Evaluation and decoding use it
/// directly; training goes through ZeroEngine. All calls are collective unless they say otherwise.
class EngineUnits final : public model::ParameterSource {
 public:
  /// The roles of an engine that units need; `audit` is null if the deck asks for no audits. All
  /// outlive this object.
  struct Roles {
    const EngineFrame& frame;
    ParameterResidency& parameters;
    GradientReducer& gradients;
    ParameterUpdate& update;
    SlotAudit* audit = nullptr;
  };
  explicit EngineUnits(const Roles& roles);

  /// Says that so many passes over a slot follow. Not collective, as the next three.
  void begin_slots(std::int64_t passes);
  /// Says that every rank makes so many forward passes (Transformer::evaluate or idle)
  /// before the next step, so that stage 3 gathers ahead in them too.
  void begin_evaluation(std::int64_t rounds);
  /// The same for decoding in lock step: every rank begins a batch next (model::BatchSearch, or
  /// model::IdleDecoding for a rank that has none), or takes so many steps of it.
  void begin_decoding();
  void begin_decoding_steps(std::int64_t steps);

  /// Makes one pass over a slot, or an idle pass if the batch is null or empty.
  void run_slot(model::Transformer& model, const data::Batch* batch, const SlotPass& pass,
                const model::SlotTarget& target, double* loss);

  // ParameterSource
  const model::UnitTensors& open_forward(std::int64_t unit) override;
  void close_forward(std::int64_t unit) override;
  model::UnitTensors& open_backward(std::int64_t unit) override;
  void close_backward(std::int64_t unit) override;

  /// The parameters for decoding in lock step, unit by unit as in training; beside a device with
  /// memory of its own, through host memory for the largest unit. The engine outlives it. Not
  /// collective, but all ranks gather its units together.
  [[nodiscard]] std::unique_ptr<DecodingSource> decoding_source(const model::Transformer& model);
  /// All parameters in every rank's host memory: for decoding, where ranks take unlike numbers of
  /// steps. Where a CPU holds them they are read where they lie; else a copy, in the layout of one
  /// rank. Outlived by the engine; the parameters do not change meanwhile.
  [[nodiscard]] std::unique_ptr<model::ParameterSource> gather_all(const model::Transformer& model);

 private:
  /// The unit's tensors within the elements of `type` at `base`.
  [[nodiscard]] std::vector<at::Tensor> views(std::int64_t unit, void* base,
                                              ElementType type) const;
  void acquire(std::int64_t unit);
  /// The parameters where this rank holds all of them.
  [[nodiscard]] std::unique_ptr<model::ParameterSource> resident();
  /// A testing aid (BitFlip): a bit of a gradient.
  void spoil_gradient(BitFlip::Place place, std::int64_t unit);

  Roles roles_;
  SlotPass pass_;  ///< the pass that this rank is in
  std::vector<model::UnitTensors> tensors_;
  std::vector<std::optional<std::uint64_t>>
      forward_event_;  ///< by unit, in the flight record: the one that goes on
  std::vector<std::uint64_t> backward_event_;
};

}  // namespace th::zero
