#pragma once

#include <cmath>
#include <cstdint>

#include "th/base/hash.hpp"
#include "th/base/host_device.hpp"

namespace th {

/// Counter-based dropout of one site: element i is kept when hash(key, i) falls below the keep
/// share, and scaled by 1/(1-rate). Nothing is stored: the backward pass draws the same numbers
/// again.
struct Dropout {
  std::uint64_t key = 0;
  float rate = 0;  ///< 0: the identity
};

/// The draws of one site, for the CPU's and the GPU's kernels.
class DropoutDraws {
 public:
  explicit DropoutDraws(Dropout d)
      : low_(static_cast<std::uint32_t>(mix64(d.key))),
        high_(static_cast<std::uint32_t>(mix64(d.key) >> 32)),
        threshold_(
            static_cast<std::uint32_t>(std::lround(static_cast<double>(d.rate) * 16777216.0))),
        scale_(1.0F / (1.0F - d.rate)) {}
  /// What element i is multiplied by: 0 or 1/(1-rate).
  [[nodiscard]] TH_HOST_DEVICE float factor(std::int64_t i) const {
    return (draw(low_, high_, static_cast<std::uint32_t>(i)) >> 8) >= threshold_ ? scale_ : 0.0F;
  }
  /// 1/(1-rate).
  [[nodiscard]] TH_HOST_DEVICE float scale() const { return scale_; }

 private:
  /// A well mixed 32-bit word of (key, index): two rounds of multiply and shift over both halves of
  /// the key.
  [[nodiscard]] TH_HOST_DEVICE static std::uint32_t draw(std::uint32_t low, std::uint32_t high,
                                                         std::uint32_t i) {
    std::uint32_t x = (i ^ low) * 0x9e3779b1U;
    x ^= x >> 16;
    x += high;
    x *= 0x7feb352dU;
    x ^= x >> 15;
    x *= 0x846ca68bU;
    x ^= x >> 16;
    return x;
  }

  std::uint32_t low_, high_, threshold_;
  float scale_;
};

}  // namespace th
