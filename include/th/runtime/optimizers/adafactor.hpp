#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "th/base/host_device.hpp"
#include "th/runtime/optimizers/optimizer_rule.hpp"

namespace th::runtime {

/// Adafactor (Shazeer, Stern 2018) as torch.optim.Adafactor: the second moment of a matrix is the
/// product of its rows' and its columns' means, so that it is kept in rows + columns numbers, and a
/// tensor's step is scaled with the root mean square of its weights. Every tensor is updated as a
/// whole (zero/whole_update.hpp). Of a matrix the first rows + columns elements of the state are
/// the means of rows, then those of columns; of a vector each element has its own.
struct Adafactor {
  static constexpr const char* kName = "adafactor";
  static constexpr std::array kStates{"variance"};
  static constexpr std::size_t kElementStates = 0;
  static constexpr std::tuple kReads{&OptimizerSettings::weight_decay,
                                     &OptimizerSettings::beta2_decay, &OptimizerSettings::eps_scale,
                                     &OptimizerSettings::update_clip};

  /// No element is updated by itself.
  struct Factors {
    TH_HOST_DEVICE void update(float /*gradient*/, float& /*weight*/) const {}
  };
  [[nodiscard]] static Factors factors(const StepNumbers& /*numbers*/) { return {}; }

  /// The numbers of a tensor's step.
  struct Tensor {
    double one_minus_beta2, decay, rate, least_scale, clip;
    /// torch's default for eps1: the distance of fp32 numbers at 1.
    static constexpr double kEps = 0x1p-23;
  };
  [[nodiscard]] static Tensor tensor(const StepNumbers& numbers) {
    const OptimizerSettings& s = numbers.settings;
    const auto step = static_cast<double>(numbers.step);
    return {.one_minus_beta2 = std::pow(step, s.beta2_decay),
            .decay = 1.0 - numbers.lr * s.weight_decay,
            .rate = std::min(numbers.lr, 1.0 / std::sqrt(step)),
            .least_scale = s.eps_scale,
            .clip = s.update_clip};
  }
};

}  // namespace th::runtime
