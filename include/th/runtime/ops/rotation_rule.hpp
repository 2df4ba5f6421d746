#pragma once

#include <cstdint>

#include "th/base/host_device.hpp"

namespace th::runtime {

/// How queries and keys are turned by their positions, between projection and scores. In each head
/// of width K, column pair i, (a, b), is turned by the angle position * theta^(-2i/K) (rotary
/// positions, Su et al. 2021). A kind is a layout of the pairs.
struct RotationRule {
  enum class Kind : std::int32_t {
    kIdentity,     ///< rows stay as they are projected
    kInterleaved,  ///< pair i is the columns 2i and 2i + 1
    kHalves        ///< pair i is the columns i and i + K/2
  };
  Kind kind = Kind::kIdentity;
  /// [positions, K/2, 2], in the kernels' memory: cosine and sine of each angle, made once in fp64.
  const float* angles = nullptr;

  enum class Direction : std::int32_t { kForward, kBackward };  ///< backward: by the opposite angle

  /// Whether any row changes; an identity costs no pass over the rows.
  [[nodiscard]] TH_HOST_DEVICE constexpr bool rotates() const { return kind != Kind::kIdentity; }
  /// The columns of a pair in a head of width K.
  [[nodiscard]] TH_HOST_DEVICE constexpr std::int64_t first(std::int64_t pair) const {
    return kind == Kind::kInterleaved ? 2 * pair : pair;
  }
  [[nodiscard]] TH_HOST_DEVICE constexpr std::int64_t second(std::int64_t pair,
                                                             std::int64_t width) const {
    return kind == Kind::kInterleaved ? 2 * pair + 1 : pair + width / 2;
  }
  /// Turns a pair's columns a and b of a head of width K at `position`.
  TH_HOST_DEVICE constexpr void rotate(std::int64_t pair, std::int64_t width, std::int64_t position,
                                       Direction direction, float& a, float& b) const {
    if (kind == Kind::kIdentity) return;
    const float* angle = angles + (position * (width / 2) + pair) * 2;
    const float cosine = angle[0];
    const float sine = direction == Direction::kForward ? angle[1] : -angle[1];
    // Both results are sums, because GCC 12 makes a difference and a sum side by side one fused
    // instruction, also with -ffp-contract=off.
    const float opposite = direction == Direction::kForward ? -angle[1] : angle[1];
    const float turned = a * cosine + b * opposite;
    b = b * cosine + a * sine;
    a = turned;
  }
};

}  // namespace th::runtime
