#pragma once

#include <array>
#include <tuple>

#include "th/base/host_device.hpp"
#include "th/runtime/optimizers/optimizer_rule.hpp"

namespace th::runtime {

/// Stochastic gradient descent without momentum. Weight decay is L2.
struct Sgd {
  static constexpr const char* kName = "sgd";
  static constexpr std::array<const char*, 0> kStates{};
  static constexpr std::tuple kReads{&OptimizerSettings::weight_decay, &OptimizerSettings::momentum,
                                     &OptimizerSettings::nesterov};
  [[nodiscard]] static constexpr bool serves(const OptimizerSettings& s) { return s.momentum <= 0; }

  struct Factors {
    float decay, lr;

    TH_HOST_DEVICE void update(float gradient, float& weight) const {
      weight -= lr * (gradient + weight * decay);
    }
  };

  [[nodiscard]] static Factors factors(const StepNumbers& numbers) {
    return {static_cast<float>(numbers.settings.weight_decay), static_cast<float>(numbers.lr)};
  }
};

/// The same with momentum (Polyak 1964), and Nesterov's where the deck says so, as
/// torch.optim.SGD's with dampening 0: buffer = momentum * buffer + gradient, and the step is the
/// buffer, or with Nesterov gradient + momentum * buffer.
struct SgdMomentum {
  static constexpr const char* kName = "sgd";
  static constexpr std::array kStates{"momentum_buffer"};
  static constexpr std::tuple kReads = Sgd::kReads;
  [[nodiscard]] static constexpr bool serves(const OptimizerSettings& s) { return s.momentum > 0; }

  struct Factors {
    float decay, lr, momentum;
    float of_gradient, of_buffer;  ///< what the step takes of each

    TH_HOST_DEVICE void update(float gradient, float& weight, float& momentum_buffer) const {
      const float decayed = gradient + weight * decay;
      const float buffer = momentum_buffer * momentum + decayed;
      momentum_buffer = buffer;
      weight -= lr * (decayed * of_gradient + buffer * of_buffer);
    }
  };

  [[nodiscard]] static Factors factors(const StepNumbers& numbers) {
    const OptimizerSettings& s = numbers.settings;
    const bool nesterov = s.nesterov == Nesterov::kTrue;
    const auto momentum = static_cast<float>(s.momentum);
    return {.decay = static_cast<float>(s.weight_decay),
            .lr = static_cast<float>(numbers.lr),
            .momentum = momentum,
            .of_gradient = nesterov ? 1.0F : 0.0F,
            .of_buffer = nesterov ? momentum : 1.0F};
  }
};

}  // namespace th::runtime
