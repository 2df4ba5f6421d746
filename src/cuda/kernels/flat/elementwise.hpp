#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "th/base/half_float.hpp"
#include "th/base/host_device.hpp"
#include "th/runtime/plugin/cuda_plugin_abi.hpp"

// The arithmetic of the kernels, element by element, in the order of the CPU code:
// src/zero/flat/flat_kernels.cpp, src/zero/slot_tree.cpp. Plain C++ as well, so that a test without
// a GPU compares it with that code bit by bit. Contraction to fma is switched off by the compilers'
// options (--fmad=false, -ffp-contract=off); square root and division are the IEEE ones.

namespace th::cuda {

/// zero::apply_update for elements of a rule with `Factors` and these states: gradients of type G,
/// and a copy of the new weights in the 16-bit type W unless `working` is null.
template <typename Factors, typename States, typename G, typename W>
struct UpdateElements {
  Factors factors;
  float gradient_factor;
  float* weights;
  const G* gradients;
  float* states[runtime::kMaxOptimizerStates];
  W* working;
  const runtime::StepOutcome* outcome;
  static constexpr int kPack = 1;
  [[nodiscard]] static bool packs() { return false; }
  template <int N>
  TH_HOST_DEVICE void run(std::int64_t i) const {
    static_assert(N == 1);
    if (outcome != nullptr && outcome->finite == 0) return;
    const float factor = outcome != nullptr ? outcome->gradient_factor : gradient_factor;
    float weight = weights[i];
    runtime::update_element(factors, to_float(gradients[i]) * factor, weight, states, i, States{});
    weights[i] = weight;
    if (working != nullptr) working[i] = from_float<W>(weight);
  }
};

/// Calls body(G{}, W{}) for the types of an update, float where they are fp32; W counts only where
/// there is a working copy.
template <typename Body>
void with_update_types(const runtime::UpdateOperands& o, const Body& body) {
  const auto with_working = [&](auto gradient) {
    if (o.working_type == ElementType::kFp16) return body(gradient, Fp16{});
    body(gradient, Bf16{});
  };
  if (o.gradient_type == ElementType::kBf16) return with_working(Bf16{});
  if (o.gradient_type == ElementType::kFp16) return with_working(Fp16{});
  with_working(float{});
}

/// An update with one rule as a launch of its elements.
template <typename Launch, typename States, typename Factors>
void launch_rule(const Factors& factors, float gradient_factor, const runtime::UpdateOperands& o,
                 void* stream) {
  with_update_types(o, [&](auto gradient, auto working) {
    using G = decltype(gradient);
    using W = decltype(working);
    UpdateElements<Factors, States, G, W> elements{.factors = factors,
                                                   .gradient_factor = gradient_factor,
                                                   .weights = o.weights,
                                                   .gradients = static_cast<const G*>(o.gradients),
                                                   .states = {},
                                                   .working = static_cast<W*>(o.working),
                                                   .outcome = o.outcome};
    std::copy(std::begin(o.states), std::end(o.states), elements.states);
    Launch::elements("update", o.count, elements, stream);
  });
}

/// An update with the rule of `factors`.
template <typename Launch>
void launch_update(const runtime::UpdateFactors& factors, const runtime::UpdateOperands& o,
                   void* stream) {
  runtime::with_factors(factors, [&](auto rule, const auto& of_rule) {
    using States = runtime::StateIndexes<decltype(rule)>;
    launch_rule<Launch, States>(of_rule, factors.gradient, o, stream);
  });
}

/// Adds the value of slot number `slot` to the binary counter: level l holds the sum of 2^l
/// consecutive slots. Every level is visited, so that the loop unrolls and the levels stay in
/// registers.
template <int kLevels>
TH_HOST_DEVICE inline void push_slot(float (&level)[kLevels], std::uint32_t slot, float carry) {
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int l = 0; l < kLevels; ++l) {
    const std::uint32_t below =
        slot & ((1U << l) - 1U);  // the carry comes this far when all lower bits are set
    if (below != (1U << l) - 1U) continue;
    if (((slot >> l) & 1U) == 0U) {
      level[l] = carry;
    } else {
      carry = level[l] + carry;
    }
  }
}

/// The sum of all levels after `slots` slots, from the lowest one up.
template <int kLevels>
TH_HOST_DEVICE inline float tree_total(const float (&level)[kLevels], std::uint32_t slots) {
  float total = 0;
  bool some = false;
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int l = 0; l < kLevels; ++l) {
    if (((slots >> l) & 1U) == 0U) continue;
    total = some ? level[l] + total : level[l];
    some = true;
  }
  return total;
}

/// Elements in a block of the gradient norm (FlatLayout::kBlock), and its partial sums.
constexpr int kNormBlock = 256;
constexpr int kNormLanes = 8;

/// Partial sum of squares number `lane` of one block of T.
template <typename T>
TH_HOST_DEVICE inline double square_lane(const T* block, int lane) {
  double sum = 0;
  for (int i = 0; i < kNormBlock; i += kNormLanes) {
    const double value = static_cast<double>(to_float(block[i + lane]));
    sum += value * value;
  }
  return sum;
}

/// Strands of the norm's sum over blocks on a GPU.
constexpr int kNormStrands = 1024;

/// Adds the squares' sums of the unit's blocks t, t + kNormStrands, … of all ranks, one rank's
/// behind the other's, to strand t: the places of blocks, and so the sum, do not depend on the rank
/// count, since a unit's padding adds zeros. Returns the first of them that is not finite, -1:
/// none.
TH_HOST_DEVICE inline std::int64_t norm_strand(const runtime::StepRecords& s,
                                               const runtime::StepRecords::Unit& unit, int t,
                                               double& sum) {
  std::int64_t bad = -1;
  const auto blocks = static_cast<std::uint32_t>(unit.blocks);
  const std::uint32_t all = blocks * static_cast<std::uint32_t>(s.ranks);
#ifdef __CUDA_ARCH__
#pragma unroll 8
#endif
  for (auto j = static_cast<std::uint32_t>(t); j < all; j += kNormStrands) {
    const std::uint32_t rank = j / blocks;
    const double squares = s.records[rank * s.record + unit.first + (j - rank * blocks)];
    sum += squares;
    if (bad < 0 && !std::isfinite(squares)) bad = j;
  }
  return bad;
}

/// The losses in slot order.
TH_HOST_DEVICE inline double loss_total(const runtime::StepRecords& s) {
  double sum = 0;
  for (std::int64_t slot = 0; slot < s.dealing.slots; ++slot) {
    const SlotDealing::Place place = s.dealing.place(slot);
    sum += s.records[place.rank * s.record + s.losses + place.pass];
  }
  return sum;
}

}  // namespace th::cuda
