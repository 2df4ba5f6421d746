#pragma once

#include <bit>
#include <cstdint>

#include "th/base/host_device.hpp"

namespace th {

/// bfloat16: the upper half of an fp32 value. Only for storage; arithmetic is fp32.
struct Bf16 {
  std::uint16_t bits = 0;
};

/// IEEE 754 binary16. Only for storage; arithmetic is fp32.
struct Fp16 {
  std::uint16_t bits = 0;
};

// The conversions use integer and fp32 operations without branches, so they vectorise and give the
// same bits on every instruction set. Those to 16 bits round to nearest, ties to even. Numbers that
// are too large become infinite, NaN stays NaN, and subnormal numbers are kept.

TH_HOST_DEVICE inline float to_float(float x) { return x; }

TH_HOST_DEVICE inline float to_float(Bf16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}

TH_HOST_DEVICE inline float to_float(Fp16 x) {
  const std::uint32_t sign = (static_cast<std::uint32_t>(x.bits) & 0x8000U) << 16;
  const std::uint32_t magnitude = (static_cast<std::uint32_t>(x.bits) & 0x7fffU) << 13;
  // The exponent's bias from 15 to 127, exact for subnormal numbers too.
  const float scaled = std::bit_cast<float>(magnitude) * 0x1p112F;
  const std::uint32_t special = magnitude >= 0x0f800000U ? 0x7f800000U : 0U;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) | special | sign);
}

/// `T` is float, Bf16 or Fp16.
template <typename T>
TH_HOST_DEVICE T from_float(float x);

template <>
TH_HOST_DEVICE inline float from_float<float>(float x) {
  return x;
}

template <>
TH_HOST_DEVICE inline Bf16 from_float<Bf16>(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const std::uint32_t quiet = (bits >> 16) | 0x40U;
  return {static_cast<std::uint16_t>((bits & 0x7fffffffU) > 0x7f800000U ? quiet : rounded)};
}

template <>
TH_HOST_DEVICE inline Fp16 from_float<Fp16>(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  const std::uint32_t normal = (magnitude - 0x38000000U + 0xfffU + ((magnitude >> 13) & 1U)) >> 13;
  // Adding 0.5 leaves the subnormal number's rounded bits at the lower end of the sum.
  const std::uint32_t subnormal =
      std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
  std::uint32_t half = magnitude < 0x38800000U ? subnormal : normal;
  half = magnitude >= 0x47800000U ? 0x7c00U : half;
  half = magnitude > 0x7f800000U ? 0x7e00U | ((magnitude >> 13) & 0x3ffU) : half;
  return {static_cast<std::uint16_t>(half | sign)};
}

}  // namespace th
