#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "th/runtime/plugin/cuda_plugin_abi.hpp"
#include "th/zero/optimizer.hpp"
#include "th/zero/slot_tree.hpp"

/// Data for the kernels' tests, and the engine's answers to it.
namespace th::reference {

inline std::vector<float> random_values(std::int64_t count, unsigned seed, double scale) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<float> out;
  for (std::int64_t i = 0; i < count; ++i) out.push_back(static_cast<float>(normal(engine)));
  for (std::size_t i = 0; i < out.size(); i += 97)
    out[i] = 1e-41F * static_cast<float>(i);  // denormals are kept by both sides
  return out;
}

/// Adam, Adam with L2 decay and AdamW, early and late steps, with and without clipping; sgd with
/// momentum, and with Nesterov's.
inline std::vector<zero::OptimizerStep> adam_steps() {
  std::vector<zero::OptimizerStep> out;
  for (const auto name : {config::OptimizerKind::kAdam, config::OptimizerKind::kAdamw}) {
    for (const double decay : {0.0, 0.01}) {
      for (const std::int64_t number : {std::int64_t{1}, std::int64_t{7}, std::int64_t{40000}}) {
        zero::OptimizerStep step;
        step.settings.name = name;
        step.settings.weight_decay = decay;
        step.lr = 3.1e-4;
        step.gradient_factor = number == 7 ? 0.37 : 1.0;
        step.step = number;
        out.push_back(step);
      }
    }
  }
  for (const auto nesterov : {runtime::Nesterov::kFalse, runtime::Nesterov::kTrue}) {
    zero::OptimizerStep step;
    step.settings.name = config::OptimizerKind::kSgd;
    step.settings.momentum = 0.9;
    step.settings.nesterov = nesterov;
    step.settings.weight_decay = 0.01;
    step.lr = 0.03;
    step.gradient_factor = 0.37;
    out.push_back(step);
  }
  return out;
}

/// An optimizer's operands in memory of any side; null states: it has none.
inline runtime::UpdateOperands operands(float* p, const float* g, float* m, float* v,
                                        std::int64_t count) {
  return {.weights = p, .gradients = g, .states = {m, v}, .count = count};
}

inline zero::OptimizerStep sgd_step() {
  zero::OptimizerStep step;
  step.settings.name = config::OptimizerKind::kSgd;
  step.settings.weight_decay = 0.02;
  step.lr = 0.3;
  step.gradient_factor = 0.7;
  return step;
}

/// The gradients of `slots` slots: values of unlike size, so that another order of the sum gives
/// other bits.
inline std::vector<std::vector<float>> leaves(std::int64_t slots, std::int64_t count) {
  std::vector<std::vector<float>> out;
  for (std::int64_t s = 0; s < slots; ++s)
    out.push_back(random_values(count, static_cast<unsigned>(100 + s), s % 3 == 0 ? 1000 : 1));
  return out;
}

/// SlotTree's sum over `leaves`, fed in rounds of `ranks`.
inline std::vector<float> tree_sum(const std::vector<std::vector<float>>& leaves,
                                   std::int64_t ranks) {
  const std::int64_t slots = std::ssize(leaves), count = std::ssize(leaves[0]);
  zero::SlotTree tree(SlotDealing{slots, ranks}.ends(), count);
  std::vector<float> out(leaves[0].size());
  for (std::int64_t first = 0; first < slots; first += ranks) {
    std::vector<const float*> pieces;
    for (std::int64_t s = first; s < std::min(slots, first + ranks); ++s)
      pieces.push_back(leaves[static_cast<std::size_t>(s)].data());
    tree.add<float>(first, pieces, 0, count, out.data());
  }
  return out;
}

}  // namespace th::reference
