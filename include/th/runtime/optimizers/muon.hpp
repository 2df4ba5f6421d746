#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "th/runtime/optimizers/adam.hpp"

namespace th::runtime {

/// Muon (Jordan et al. 2024), as torch.optim.Muon: the step of a matrix of the layers is its
/// momentum, orthogonalised by Newton-Schulz iterations (zero/whole_update.hpp), and every other
/// tensor is AdamW's, at a rate of its own. So it has the element's formula of AdamW with its two
/// states for those, and a momentum for the matrices alone.
struct Muon {
  static constexpr const char* kName = "muon";
  static constexpr std::array kStates{"exp_avg", "exp_avg_sq", "momentum_buffer"};
  /// States of the element's formula; the others are those of whole tensors.
  static constexpr std::size_t kElementStates = 2;
  static constexpr std::tuple kReads = std::tuple_cat(
      Adam::kReads, std::tuple{&OptimizerSettings::momentum, &OptimizerSettings::nesterov,
                               &OptimizerSettings::muon_scale, &OptimizerSettings::adam_lr});
  using Factors = Adam::Factors;

  /// The tensors that are AdamW's: adam_lr takes the place of the deck's rate in the schedule.
  [[nodiscard]] static Factors factors(const StepNumbers& numbers) {
    StepNumbers adam = numbers;
    if (numbers.settings.adam_lr > 0) adam.lr = numbers.settings.adam_lr * numbers.part;
    return AdamW::factors(adam);
  }

  /// The numbers of a matrix' step.
  struct Matrix {
    float momentum, one_minus_momentum, decay, step;
    bool nesterov;

    /// The momentum after a gradient, and the update that is orthogonalised.
    void update(float gradient, float& momentum_buffer, float& direction) const {
      const float buffer = momentum_buffer + (gradient - momentum_buffer) * one_minus_momentum;
      momentum_buffer = buffer;
      direction = nesterov ? gradient + (buffer - gradient) * momentum : buffer;
    }
    void apply(float& weight, float orthogonal) const {
      weight = weight * decay - step * orthogonal;
    }
  };
  [[nodiscard]] static Matrix matrix(const StepNumbers& numbers, double rows, double columns) {
    const OptimizerSettings& s = numbers.settings;
    const double momentum = s.momentum < 0 ? 0.95 : s.momentum;
    const double scale = s.muon_scale == MuonScale::kOriginal
                             ? std::sqrt(std::max(1.0, rows / columns))
                             : 0.2 * std::sqrt(std::max(rows, columns));
    return {.momentum = static_cast<float>(momentum),
            .one_minus_momentum = static_cast<float>(1.0 - momentum),
            .decay = static_cast<float>(1.0 - numbers.lr * s.weight_decay),
            .step = static_cast<float>(numbers.lr * scale),
            .nesterov = s.nesterov != Nesterov::kFalse};
  }
};

}  // namespace th::runtime
