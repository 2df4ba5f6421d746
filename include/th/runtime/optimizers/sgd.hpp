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
  static constexpr std::tuple kReads{&OptimizerSettings::weight_decay};

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

}  // namespace th::runtime
