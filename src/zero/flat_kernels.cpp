#include "th/zero/flat_kernels.hpp"

#include "th/base/target_clones.hpp"
#include "th/zero/flat_layout.hpp"

namespace th::zero {

namespace {

/// One rule's loop. It is inlined into the clones, and so compiled for their instruction sets. The
/// states' pointers are copied, so that the compiler knows that the loop leaves them alone.
template <typename Rule>
[[gnu::always_inline]] inline void update_all(const typename Rule::Factors& of_rule, float factor,
                                              float* weights, const float* gradients,
                                              float* const* states, std::int64_t count) {
  const typename Rule::Factors factors = of_rule;
  float* own[runtime::kMaxOptimizerStates];
  for (std::size_t s = 0; s < Rule::kStates.size(); ++s) own[s] = states[s];
  for (std::int64_t i = 0; i < count; ++i) {
    runtime::update_element(factors, gradients[i] * factor, weights[i], own, i,
                            runtime::StateIndexes<Rule>{});
  }
}

}  // namespace

TH_CLONES void update_elements(const runtime::UpdateFactors& factors, float* weights,
                               const float* gradients, float* const* states, std::int64_t count) {
  runtime::with_factors(
      factors, [&](auto rule, const auto& of_rule) __attribute__((always_inline)) {
        update_all<decltype(rule)>(of_rule, factors.gradient, weights, gradients, states, count);
      });
}

TH_CLONES void block_square_sums(const float* x, std::int64_t blocks, double* out) {
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

}  // namespace th::zero
