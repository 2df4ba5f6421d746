#include "th/zero/flat_kernels.hpp"

#include <algorithm>

#include "th/zero/flat_layout.hpp"
#include "zero/flat/flat_tables.hpp"

// The loops for one instruction set, TH_ISA (cmake/ThIsa.cmake).
namespace th::zero::TH_ISA {

namespace {

/// One rule's loop. The states' pointers are copied, so that the compiler knows that the loop
/// leaves them alone.
template <typename Rule>
[[gnu::always_inline]] inline void update_all(const typename Rule::Factors& of_rule, float factor,
                                              float* weights, const float* gradients,
                                              float* const* states, std::int64_t count) {
  const typename Rule::Factors factors = of_rule;
  float* own[runtime::kMaxOptimizerStates];
  for (std::size_t s = 0; s < runtime::element_states_of<Rule>(); ++s) own[s] = states[s];
  for (std::int64_t i = 0; i < count; ++i) {
    runtime::update_element(factors, gradients[i] * factor, weights[i], own, i,
                            runtime::StateIndexes<Rule>{});
  }
}

void update_elements(const runtime::UpdateFactors& factors, float* weights, const float* gradients,
                     float* const* states, std::int64_t count) {
  runtime::with_factors(
      factors, [&](auto rule, const auto& of_rule) __attribute__((always_inline)) {
        update_all<decltype(rule)>(of_rule, factors.gradient, weights, gradients, states, count);
      });
}

void average_elements(const float* weights, float* averages, float rate, std::int64_t count) {
  if (rate == 1.0F) {
    std::copy(weights, weights + count, averages);
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const float average = averages[i];
    averages[i] = average + (weights[i] - average) * rate;
  }
}

void block_square_sums(const float* x, std::int64_t blocks, double* out) {
  for (std::int64_t b = 0; b < blocks; ++b) {
    double lanes[8] = {};
    for (std::int64_t i = 0; i < FlatLayout::kBlock; i += 8) {
      for (int l = 0; l < 8; ++l) {
        const double value = static_cast<double>(x[b * FlatLayout::kBlock + i + l]);
        lanes[l] += value * value;
      }
    }
    out[b] = ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
             ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }
}

void sum(const float* a, const float* b, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = a[i] + b[i];
}

}  // namespace

constinit const FlatTable kFlatTable{.update_elements = update_elements,
                                     .average_elements = average_elements,
                                     .block_square_sums = block_square_sums,
                                     .sum = sum};

}  // namespace th::zero::TH_ISA
