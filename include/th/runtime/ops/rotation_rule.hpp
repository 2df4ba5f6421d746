#pragma once

#include <cstdint>

#include "th/base/host_device.hpp"

namespace th::runtime {

/// How queries and keys are turned by their positions, between projection and scores: column pairs
/// (a, b) of each head. A kind of rotary position (Su et al. 2021) is a new kind here.
struct RotationRule {
  enum class Kind : std::int32_t {
    kIdentity  ///< rows stay as they are projected
  };
  Kind kind = Kind::kIdentity;

  enum class Direction : std::int32_t { kForward, kBackward };  ///< backward: by the opposite angle

  /// Whether any row changes; an identity costs no pass over the rows.
  [[nodiscard]] TH_HOST_DEVICE constexpr bool rotates() const { return kind != Kind::kIdentity; }
  /// Turns the columns `pair` and `pair` + K/2 of a head of width K at `position`.
  TH_HOST_DEVICE constexpr void rotate(std::int64_t /*pair*/, std::int64_t /*width*/,
                                       std::int64_t /*position*/, Direction /*direction*/,
                                       float& /*a*/, float& /*b*/) const {}
};

}  // namespace th::runtime
