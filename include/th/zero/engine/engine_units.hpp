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

/// The units of an engine as the model opens and closes them: where their values and gradients are
/// meanwhile, and the collectives that this sets off. The forward pass of an evaluation and
/// decoding use it as they are; training goes through ZeroEngine. All calls are collective unless
/// they say otherwise.
class EngineUnits final : public model::ParameterSource {
 public:
  /// The roles of an engine that units need; `audit` null: the deck asks for none. All outlive it.
  struct Roles {
    const EngineFrame& frame;
    ParameterResidency& parameters;
    GradientReducer& gradients;
    ParameterUpdate& update;
    SlotAudit* audit = nullptr;
  };
  explicit EngineUnits(const Roles& roles);

  /// So many passes over a slot follow. Not collective, as what follows.
  void begin_slots(std::int64_t passes);
  /// So many forward passes of the model follow, on every rank (Transformer::evaluate or
  /// idle_forward), before the next step: stage 3 gathers units ahead in them too.
  void begin_evaluation(std::int64_t rounds);
  /// The same of decoding in lock step: the beginning of a batch follows on every rank
  /// (model::BatchSearch, or model::IdleDecoding for a rank that has none), or so many steps of it,
  /// each of which every rank takes.
  void begin_decoding();
  void begin_decoding_steps(std::int64_t steps);

  /// One pass over a slot, or an idle one where the batch is null or empty.
  void run_slot(model::Transformer& model, const data::Batch* batch, const SlotPass& pass,
                const model::SlotTarget& target, double* loss);

  // ParameterSource
  const model::UnitTensors& open_forward(std::int64_t unit) override;
  void close_forward(std::int64_t unit) override;
  model::UnitTensors& open_backward(std::int64_t unit) override;
  void close_backward(std::int64_t unit) override;

  /// The parameters for decoding in lock step, unit by unit as training has them; beside a device
  /// with memory of its own through host memory of the largest unit. Outlived by the engine. Not
  /// collective; its units are gathered by all ranks together.
  [[nodiscard]] std::unique_ptr<DecodingSource> decoding_source(const model::Transformer& model);
  /// All parameters in every rank's host memory: for decoding, where ranks take unlike numbers of
  /// steps. Where a CPU holds them they are read where they lie; else a copy, in the layout of one
  /// rank. Outlived by the engine; the parameters do not change meanwhile.
  [[nodiscard]] std::unique_ptr<model::ParameterSource> gather_all(const model::Transformer& model);

 private:
  /// The unit's tensors within the elements of `type` at `base`.
  [[nodiscard]] std::vector<at::Tensor> views(std::int64_t unit, void* base,
                                              config::Precision type) const;
  void acquire(std::int64_t unit);
  /// The parameters where this rank holds all of them.
  [[nodiscard]] std::unique_ptr<model::ParameterSource> resident();
  /// A testing aid (BitFlip): a bit of a gradient.
  void spoil_gradient(BitFlip::Place place, std::int64_t unit);

  Roles roles_;
  SlotPass pass_;  ///< that this rank is in
  std::vector<model::UnitTensors> tensors_;
  std::vector<std::optional<std::uint64_t>>
      forward_event_;  ///< by unit, in the flight record: the one that goes on
  std::vector<std::uint64_t> backward_event_;
};

}  // namespace th::zero
