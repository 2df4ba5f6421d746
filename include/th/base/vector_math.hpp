#pragma once

#include <bit>
#include <cstdint>

#include "th/base/host_device.hpp"

namespace th {

/// x = power * ln 2 + rest, |rest| <= ln 2 / 2: the first half of exp_fixed(). Two loops, one for
/// each half, run faster than one for both, because the processor looks ahead into more numbers.
struct ExpParts {
  float rest;
  std::uint32_t power;  ///< bits of 2^power
};
TH_HOST_DEVICE inline ExpParts exp_parts(float x) {
  x = x < -87.0F ? -87.0F : x;
  constexpr float kLog2e = 1.44269504088896341F;
  constexpr float kLn2High = 0.693359375F;
  constexpr float kLn2Low = -2.12194440e-4F;
  // 1.5 * 2^23: adding and subtracting it rounds to the nearest integer.
  constexpr float kRound = 12582912.0F;
  const float n = (x * kLog2e + kRound) - kRound;
  return {(x - n * kLn2High) - n * kLn2Low,
          static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + 127) << 23};
}
TH_HOST_DEVICE inline float exp_of(ExpParts x) {
  const float r = x.rest;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  const float e = p * r * r + r + 1.0F;
  return e * std::bit_cast<float>(x.power);
}

/// exp(x) for x <= 0 to about 1 ulp, by range reduction to [-ln2/2, ln2/2] and a degree-6
/// polynomial (Cody and Waite 1980). It has only multiplications and additions with one rounding
/// each, so it vectorises and gives the same bits on every instruction set.
TH_HOST_DEVICE inline float exp_fixed(float x) { return exp_of(exp_parts(x)); }

}  // namespace th
