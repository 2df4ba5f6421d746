#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "th/base/element_type.hpp"

/// What every optimizer's rule is made of. A rule is a struct with
///
///   static constexpr const char* kName;        the deck's name of it
///   static constexpr std::array kStates;       names of its fp32 states, one value a parameter
///   static constexpr std::tuple kReads;        members of OptimizerSettings that it reads, each
///   struct Factors;                            the numbers of one step, rounded to fp32 once
///   static Factors factors(const StepNumbers&);
///   static bool serves(const OptimizerSettings&);      only where rules share a name: whether this
///                                              is the one for such settings (chosen_rule)
///
/// and the formula for one element as a member of its Factors:
///
///   TH_HOST_DEVICE void update(float gradient, float& weight, float& state_0, …) const;
///
/// Where whole tensors are updated too (muon.hpp), `kElementStates` says how many of the states,
/// the first ones, are the formula's. It keeps what it computes in locals and writes each reference
/// once, since the compiler does not know that the references are of different memory. `gradient`
/// is clipped already. The host's loops and the GPU's kernels are made from this one formula
/// (optimizer_rules.hpp), so that both give the same bits. The states' names are those of the
/// memory ledger, the plan and the checkpoints; states begin at zero.
namespace th::runtime {

/// No rule has more states; memory classes and operands have room for so many.
inline constexpr std::size_t kMaxOptimizerStates = 4;

/// Names of a rule's states, in its order.
using StateNames = std::span<const char* const>;

/// Whether the update looks ahead along the momentum (Nesterov 1983); kAuto: the optimizer's usual.
enum class Nesterov { kAuto, kFalse, kTrue };
/// How Muon's step is scaled with a matrix' shape.
enum class MuonScale { kOriginal, kMatchRmsAdamw };

/// The deck's settings of optimizers but for the learning rate. Each rule reads some of them.
struct OptimizerSettings {
  double beta1 = 0.9;
  double beta2 = 0.98;
  double eps = 1e-9;
  double weight_decay = 0;
  double momentum = -1;  ///< negative: the optimizer's usual
  Nesterov nesterov = Nesterov::kAuto;
  ElementType state_dtype = ElementType::kFp32;
  MuonScale muon_scale = MuonScale::kOriginal;
  double adam_lr = 0;  ///< Muon: the rate of what AdamW updates; 0: that of the matrices
  double beta2_decay = -0.8;
  double eps_scale = 1e-3;
  double update_clip = 1;
};

/// What the numbers of one step are made from.
struct StepNumbers {
  OptimizerSettings settings;
  double lr = 0;
  std::int64_t step = 1;  ///< counts from 1
  double part = 1;        ///< lr as a part of the deck's
};

}  // namespace th::runtime
