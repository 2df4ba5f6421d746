#pragma once

#include "th/base/host_device.hpp"
#include "th/base/vector_math.hpp"

// The functions of feed-forward layers that are not ReLU, for the host and devices: one rounding an
// operation and no call of a mathematical library, so that the bits are the same everywhere.
namespace th::runtime {

enum class ActivationKind { kGelu, kSwish };

/// 1 / (1 + exp(-x)); the exponential is of -|x|, so that nothing overflows.
TH_HOST_DEVICE inline float sigmoid(float x) {
  const float e = exp_fixed(x < 0.0F ? x : -x);
  return (x < 0.0F ? e : 1.0F) / (1.0F + e);
}

/// 2 Phi(-a), the two-sided tail of the normal distribution beyond a >= 0: erfc(a / sqrt(2)) by the
/// expansion of Press et al. (Numerical Recipes, 6.2), off by 1.2e-7 of its value at most.
TH_HOST_DEVICE inline float normal_tail(float a) {
  constexpr float kRootHalf = 0.707106781186547524F;
  const float z = a * kRootHalf;
  const float t = 1.0F / (1.0F + 0.5F * z);
  float p = 0.17087277F;
  p = p * t - 0.82215223F;
  p = p * t + 1.48851587F;
  p = p * t - 1.13520398F;
  p = p * t + 0.27886807F;
  p = p * t - 0.18628806F;
  p = p * t + 0.09678418F;
  p = p * t + 0.37409196F;
  p = p * t + 1.00002368F;
  p = p * t - 1.26551223F;
  return t * exp_fixed(p - z * z);
}

/// Phi(x), the distribution function of the normal distribution.
TH_HOST_DEVICE inline float normal_share(float x) {
  const float half = 0.5F * normal_tail(x < 0.0F ? -x : x);
  return x < 0.0F ? half : 1.0F - half;
}

/// x Phi(x) (Hendrycks, Gimpel 2016): torch.nn.GELU, the exact one.
struct Gelu {
  TH_HOST_DEVICE static float value(float x) { return x * normal_share(x); }
  TH_HOST_DEVICE static float slope(float x) {
    constexpr float kDensity = 0.398942280401432678F;  // 1 / sqrt(2 pi)
    return normal_share(x) + x * (kDensity * exp_fixed(-0.5F * (x * x)));
  }
};

/// x sigmoid(x) (Ramachandran et al. 2017): torch.nn.SiLU.
struct Swish {
  TH_HOST_DEVICE static float value(float x) { return x * sigmoid(x); }
  TH_HOST_DEVICE static float slope(float x) {
    const float s = sigmoid(x);
    return s + x * s * (1.0F - s);
  }
};

}  // namespace th::runtime
