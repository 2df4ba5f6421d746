#pragma once

#include <cstdint>

namespace th::model {

/// Dropout sites of a layer; their numbers are part of every run's bits.
enum LayerSite : std::uint64_t {
  kAttentionWeights,
  kAttentionOut,
  kCrossWeights,
  kCrossOut,
  kHidden,
  kFeedForwardOut
};

/// Dropout blocks: encoder layers from 0, decoder layers from here.
inline constexpr std::uint64_t kDecoderBlock = 1000;

}  // namespace th::model
