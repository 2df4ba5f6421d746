#pragma once

#include <cmath>
#include <cstdint>

#include "th/runtime/cuda_plugin_abi.hpp"

// The arithmetic of the kernels, element by element, in the order of the CPU code: src/zero/optimizer.cpp, src/zero/slot_tree.cpp.
// Plain C++ as well, so that a test without a GPU compares it with that code bit by bit. Contraction to fma is switched off by the
// compilers' options (--fmad=false, -ffp-contract=off); square root and division are the IEEE ones.
#ifdef __CUDACC__
#define TH_DEVICE_TOO __host__ __device__
#else
#define TH_DEVICE_TOO
#endif

namespace th::cuda {

/// zero::adam of one element.
TH_DEVICE_TOO inline void adam_element(const runtime::AdamFactors& f, float& p, float g, float& m, float& v) {
  const float gradient = g * f.gradient + p * f.l2;
  const float first = m * f.beta1 + gradient * f.one_minus_beta1;
  const float second = v * f.beta2 + gradient * gradient * f.one_minus_beta2;
  const float denominator = sqrtf(second) * f.inverse_root_correction2 + f.eps;
  m = first;
  v = second;
  p = p * f.decay - f.step_size * (first / denominator);
}

/// zero::sgd of one element.
TH_DEVICE_TOO inline void sgd_element(float factor, float decay, float lr, float& p, float g) { p -= lr * (g * factor + p * decay); }

/// Adds the value of slot number `slot` to the binary counter: level l holds the sum of 2^l consecutive slots.
/// Every level is visited, so that the loop unrolls and the levels stay in registers.
template <int kLevels>
TH_DEVICE_TOO inline void push_slot(float (&level)[kLevels], std::uint32_t slot, float carry) {
#ifdef __CUDA_ARCH__
#pragma unroll
#endif
  for (int l = 0; l < kLevels; ++l) {
    const std::uint32_t below = slot & ((1U << l) - 1U);  // the carry comes this far when all lower bits are set
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
TH_DEVICE_TOO inline float tree_total(const float (&level)[kLevels], std::uint32_t slots) {
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

/// Partial sum of squares number `lane` of one block.
TH_DEVICE_TOO inline double square_lane(const float* block, int lane) {
  double sum = 0;
  for (int i = 0; i < kNormBlock; i += kNormLanes) {
    const double value = static_cast<double>(block[i + lane]);
    sum += value * value;
  }
  return sum;
}

}  // namespace th::cuda
